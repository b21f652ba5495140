"""A canary that is a point worse is rolled back within the requests that are stated, an equal one is promoted."""

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.judging import Tolerance, judged
from pennyweight.serve.watch.mixture import LEAST, evidence, ratios, shares
from pennyweight.serve.watch.sequential import Canary, Terms, bounded, needed, verdict
from pennyweight.store.team.tallies import Tally

TERMS = Terms()
REPEATS = 80


def ran(difference, n, share=0.5, seed=0, repeats=REPEATS):
    """Canaries side by side after n requests of which the rival loses 5%."""
    rng, canary = np.random.default_rng(seed), Canary.begin(TERMS, share, (repeats,))
    for _ in range(n // 1000):
        to_canary = rng.random((repeats, 1000)) < share
        canary = canary.saw(to_canary, rng.random((repeats, 1000)) < 0.05 + difference * to_canary, share)
    return canary


def test_a_point_worse_is_found_within_what_is_stated_and_rarely_called_fine():
    canary = ran(0.01, needed(TERMS, 0.5, 0.05) // 1000 * 1000)
    assert (canary.worse.p_value <= 0.05).sum() >= binom.ppf(0.001, REPEATS, 0.95)
    assert (canary.fine.p_value <= 0.05).sum() <= binom.ppf(0.999, REPEATS, 0.05)


def test_an_equal_one_is_found_fine_as_soon_and_rarely_called_worse():
    canary = ran(0.0, needed(TERMS, 0.5, 0.05) // 1000 * 1000)
    assert (canary.fine.p_value <= 0.05).sum() >= binom.ppf(0.001, REPEATS, 0.95)
    assert (canary.worse.p_value <= 0.05).sum() <= binom.ppf(0.999, REPEATS, 0.05)


def test_a_share_that_changes_on_the_way_and_bad_days_for_both_fool_nobody():
    rng, canary = np.random.default_rng(1), Canary.begin(TERMS, 0.1, (REPEATS,))
    for share, loss in ((0.1, 0.02), (0.5, 0.30), (0.2, 0.05), (0.1, 0.20)):
        to_canary = rng.random((REPEATS, 5000)) < share
        canary = canary.saw(to_canary, rng.random((REPEATS, 5000)) < loss, share)
    assert (canary.worse.p_value <= 0.05).sum() <= binom.ppf(0.999, REPEATS, 0.05)
    assert abs(canary.worse.mean).max() < 0.05


def test_where_both_answer_a_tenth_of_the_requests_is_enough():
    rng, canary = np.random.default_rng(2), Canary.beside(TERMS, (REPEATS,))
    lot = rng.random((REPEATS, needed(TERMS, 0, 0.02)))
    canary = canary.saw_difference((lot < 0.015) * 1.0 - (lot > 0.995))
    assert (canary.worse.p_value <= 0.05).sum() >= binom.ppf(0.001, REPEATS, 0.95)
    assert needed(TERMS, 0, 0.02) < needed(TERMS, 0.5, 0.05) / 5


def one(losses, differing=False, terms=TERMS):
    canary = Canary.beside(terms)
    return canary.saw_difference(np.asarray(losses, dtype=float))


def test_verdicts_of_several_losses_roll_back_for_one_and_promote_for_all():
    bad, good, new = one([0, 1, 0] * 200), one([0, 0, 0] * 1000), one([0] * 3)
    assert verdict({"errors": bad, "quality": good}).choice == "rollback"
    assert "errors is worse by 0.33" in verdict({"errors": bad, "quality": good}).why
    assert verdict({"errors": good, "quality": good}).choice == "promote"
    waiting = verdict({"errors": good, "quality": new})
    assert waiting.choice == "wait"
    assert "quality after 3 requests" in waiting.why
    with pytest.raises(BadInputError, match="Without any loss"):
        verdict({})


def test_out_of_patience_the_nearer_guess_decides():
    terms = Terms(most=100)
    assert verdict({"errors": one([0] * 100, terms=terms)}).choice == "promote"
    assert verdict({"errors": one([0] * 98 + [1, 1], terms=terms)}).choice == "rollback"
    assert verdict({"errors": one([0] * 99, terms=terms)}).choice == "wait"


@pytest.mark.parametrize("make", [lambda: Terms(margin=0), lambda: Terms(alpha=0.6), lambda: Canary.begin(TERMS, 0.0),
                                  lambda: bounded(np.ones(3), 0)])  # fmt: skip
def test_what_decides_nothing_is_refused(make):
    with pytest.raises(BadInputError):
        make()


def test_costs_are_losses_in_shares_of_the_most_that_counts():
    np.testing.assert_allclose(bounded(np.array([0.0, 5, 20]), 10), [0, 0.5, 1])


def test_sums_alone_are_rarely_wrong_however_often_one_looks():
    rng, repeats, looks, step = np.random.default_rng(3), 400, 200, 500
    sent = np.cumsum(np.full((2, repeats, looks), step), axis=2)
    lost = np.cumsum(rng.binomial(step, 0.03, (2, repeats, looks)), axis=2)
    mean = (lost + 0.5) / (sent + 1)
    variance = (mean * (1 - mean) / (sent + 1)).sum(axis=0)
    refuted = evidence(mean[0] - mean[1], variance, 0.01) >= np.log(20)
    assert refuted.any(axis=1).sum() <= binom.ppf(0.999, repeats, 0.05)


def test_few_losses_by_luck_do_not_make_a_canary_that_is_worse_look_fine():
    rng, repeats, fine = np.random.default_rng(4), 300, 0
    for _ in range(repeats):
        sent = np.cumsum(rng.binomial(1000, 0.05, 60))
        lost = np.cumsum(rng.binomial(np.diff(sent, prepend=0), 0.06))
        rival = np.cumsum(rng.binomial(950, 0.05, 60))
        looks = (
            shares("errors", (lost[n], sent[n]), (rival[n], 950 * (n + 1)), 0.01) for n in range(60) if sent[n] >= LEAST
        )
        fine += any(each.p_not_fine <= 0.05 for each in looks)
    assert fine <= binom.ppf(0.999, repeats, 0.05)


def tally(requests, errors=0, compute_us=100, **more):
    return Tally(requests, errors, 0, requests * compute_us, requests * (compute_us**2 + 100.0), **more)


def test_sums_of_a_trial_are_judged_by_errors_labels_agreement_and_compute():
    usual = tally(50_000)
    assert judged(tally(50_000), usual).choice == "promote"
    assert judged(tally(50_000, errors=1000), usual).choice == "rollback"
    assert "compute is worse by 0.5" in judged(tally(50_000, compute_us=150), usual).why
    assert judged(tally(50_000, compute_us=105), usual, Tolerance(compute=0.2)).choice == "rollback"
    assert judged(tally(LEAST - 1), usual).choice == "wait"


def test_labels_that_came_must_show_quality_and_an_answer_unlike_is_no_mistake():
    usual = tally(50_000, labelled=20_000, quality=19_000.0)
    assert judged(tally(50_000, labelled=20_000, quality=19_000.0), usual).choice == "promote"
    assert judged(tally(50_000, labelled=20_000, quality=18_500.0), usual).choice == "rollback"
    assert judged(tally(50_000, labelled=100, quality=100.0), usual).choice == "wait"
    assert judged(tally(50_000, compared=50_000, agreed=49_900), tally(50_000)).choice == "promote"
    assert judged(tally(50_000, compared=50_000, agreed=40_000), tally(50_000)).choice == "wait"


def test_no_loss_yet_is_no_certainty():
    few = shares("errors", (0, LEAST), (0, LEAST), 0.01)
    assert few.difference == 0
    assert few.variance > 0
    assert ratios("compute", (0.0, 0.0, 0), (1.0, 1.0, 5), 0.1) is None
