"""A trial is judged whenever one likes: one that is no worse is rarely rolled back, one that is worse soon is."""

import numpy as np
import pytest

from pennyweight.serve.versions.judging import ALPHA, LEAST, Sums, judged, verdict
from pennyweight.store.team.tallies import Tally


def stopped_at(rng, share, failing, candidate_failing, requests=20_000, every=500):
    """After how many requests a trial is rolled back, 0 if never, looked at every so many."""
    to_candidate = rng.random(requests) < share
    fails = rng.random(requests) < np.where(to_candidate, candidate_failing, failing)
    counts = np.cumsum([~to_candidate, to_candidate, fails & ~to_candidate, fails & to_candidate], axis=1)[:, ::every]
    for n, (a, b, a_failed, b_failed) in enumerate(counts.T.tolist()):
        if verdict(Sums(share, Tally(a, a_failed), Tally(b, b_failed))) == "rollback":
            return 1 + n * every
    return 0


@pytest.mark.parametrize(("share", "failing"), [(0.05, 0.02), (0.5, 0.02), (0.05, 0.2)])
def test_one_that_is_no_worse_is_rarely_rolled_back_however_often_one_looks(share, failing):
    rng = np.random.default_rng(1)
    stopped = [stopped_at(rng, share, failing, failing) for _ in range(300)]
    assert sum(map(bool, stopped)) <= ALPHA * len(stopped)


def test_one_that_fails_twice_as_often_is_rolled_back_within_some_thousand_requests():
    rng = np.random.default_rng(1)
    stopped = [stopped_at(rng, 0.1, 0.05, 0.1) for _ in range(50)]
    assert all(stopped)
    assert np.median(stopped) < 6000


def test_one_that_always_fails_is_rolled_back_after_a_handful():
    assert judged(Sums(0.05, Tally(60, 0), Tally(4, 4))).why == "it fails more often"


def test_wrong_answers_count_as_soon_as_labels_come():
    good, bad = Tally(500, labelled=500, quality=480), Tally(500, labelled=500, quality=400)
    assert verdict(Sums(0.5, good, bad)) == "rollback"
    assert "quality is worse by 0.16" in judged(Sums(0.5, good, bad)).why
    assert verdict(Sums(0.5, bad, good)) == "wait"


def test_it_is_promoted_when_the_time_is_over_if_enough_was_asked():
    assert verdict(Sums(0.1, Tally(1000), Tally(LEAST))) == "wait"
    assert verdict(Sums(0.1, Tally(1000), Tally(LEAST), over=True)) == "promote"
    assert verdict(Sums(0.1, Tally(1000), Tally(LEAST - 1), over=True)) == "rollback"


def test_where_all_requests_go_to_the_candidate_there_is_nothing_to_compare():
    assert verdict(Sums(1.0, Tally(), Tally(100, 50))) == "wait"


def texts(rng, count, step_us):
    """What so many texts add up to, each token of which takes about so long."""
    each = rng.gamma(4.0, step_us / 4, count)
    return Tally(count, paced=count, pace_us=int(each.sum()), pace_sq=float((each**2).sum()))


def test_one_whose_tokens_take_twice_as_long_is_rolled_back_and_one_that_is_a_little_slower_is_not():
    rng = np.random.default_rng(1)
    usual, little, twice = (texts(rng, 400, us) for us in (1000, 1150, 2000))
    found = judged(Sums(0.5, usual, twice))
    assert found.choice == "rollback"
    assert found.why.startswith("time per token, beyond 1.25 times the other's, is worse by 0.")
    assert verdict(Sums(0.5, usual, little)) == "wait"
    assert verdict(Sums(0.5, usual, little, over=True)) == "promote"
    assert verdict(Sums(0.5, twice, usual)) == "wait"
