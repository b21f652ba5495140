import math
from itertools import pairwise

import numpy as np
import pytest

from pennyweight import evals
from pennyweight.core import Floor, Slack
from pennyweight.errors import BadInputError
from pennyweight.evals import exact
from pennyweight.evals.bounded import hoeffding_bentkus
from pennyweight.evals.paired import least_n, needed, p_value

ABSOLUTE, POINTS, RATIO = Slack.ABSOLUTE, Slack.POINTS, Slack.RATIO


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def classified(n=600, noise=0.3, classes=3, seed=0):
    """True classes, a candidate with some noise of its own, and the control."""
    generator = np.random.default_rng(seed)
    y = generator.integers(classes, size=n)
    z = generator.normal(size=(n, classes))
    z[np.arange(n), y] += 3
    return y, softmax(z + noise * generator.normal(size=z.shape)), softmax(z)


def regressed(n=600, worse=1.1, seed=0):
    generator = np.random.default_rng(seed)
    y, error = 3 * generator.normal(size=n), generator.normal(size=n)
    return y, y + worse * error, y + error


def told(n=80, length=16, worse=0.0, seed=0):
    """Tokens and two log-likelihoods (N, T) whose difference varies by sequence."""
    generator = np.random.default_rng(seed)
    y = generator.integers(50, size=(n, length))
    control = -generator.exponential(size=(n, length)) - generator.exponential(size=(n, 1))
    drift = worse + 0.02 * generator.normal(size=(n, 1)) + 0.05 * generator.normal(size=(n, length))
    return y, np.minimum(control - drift, 0), control


def test_accuracy_against_a_number_is_the_binomial_test():
    y, p, _ = classified()
    right = int((p.argmax(axis=1) == y).sum())
    test = p_value(Floor("accuracy", 0.9, ABSOLUTE), y, p, None)
    assert test.p_value == exact.binomial(right, 600, 0.9)
    assert (test.test, test.n) == ("exact binomial", 600)
    assert test.effect == pytest.approx(right / 600 - 0.9)


@pytest.mark.parametrize("name", ["accuracy", "f1_micro", "precision_micro", "recall_micro"])
def test_accuracy_against_the_control_is_the_exact_paired_test(name):
    y, p, q = classified()
    pairs = exact.Pairs.of(p.argmax(axis=1) == y, q.argmax(axis=1) == y)
    test = p_value(Floor(name, 0.03, POINTS), y, p, q)
    assert test.p_value == exact.points(pairs, 0.03)
    assert test.test == "exact paired (Tango score)"
    assert test.effect == pytest.approx((pairs.won - pairs.lost) / 600 + 0.03)
    assert test.low == pytest.approx(test.effect - 1.645 * test.se, abs=1e-3)
    assert p_value(Floor(name, 0.03, RATIO), y, p, q).p_value == pytest.approx(exact.ratio(pairs, 0.03, 1e-3))


@pytest.mark.parametrize("slack", [POINTS, RATIO])
@pytest.mark.parametrize("name", sorted(set(evals.names()) - {"perplexity"}))
def test_giving_up_more_never_makes_one_less_sure(name, slack):
    y, p, q = regressed() if name in {"rmse", "mae", "r2"} else classified()
    p_values = [p_value(Floor(name, amount, slack), y, p, q).p_value for amount in (0.0, 0.02, 0.1, 0.3, 0.8)]
    assert all(earlier >= later - 1e-9 for earlier, later in pairwise(p_values))
    assert p_values[0] > 0.05
    assert p_values[-1] < 0.002


@pytest.mark.parametrize("name", sorted(set(evals.names()) - {"perplexity"}))
def test_an_absolute_floor_does_not_look_at_the_control(name):
    y, p, q = regressed() if name in {"rmse", "mae", "r2"} else classified()
    metric = evals.load(name)
    value = metric.score(y, p).mean
    sign = 1 if metric.higher_is_better else -1
    easy, hard = Floor(name, value - 0.2 * sign, ABSOLUTE), Floor(name, value + 0.01 * sign, ABSOLUTE)
    assert p_value(easy, y, p, None) == p_value(easy, y, p, q)
    assert p_value(easy, y, p, None).p_value < 0.01
    assert p_value(hard, y, p, None).p_value > 0.5


@pytest.mark.parametrize("name", ["roc_auc", "f1", "r2", "rmse", "log_loss"])
def test_the_effect_is_the_distance_to_the_floor(name):
    y, p, q = regressed() if name in {"rmse", "r2"} else classified()
    metric = evals.load(name)
    ours, theirs = metric.score(y, p), metric.score(y, q)
    sign = 1 if metric.higher_is_better else -1
    for slack in (POINTS, RATIO):
        floor = Floor(name, 0.05, slack)
        assert p_value(floor, y, p, q).effect == pytest.approx(sign * (ours.mean - floor.threshold(theirs)))
    floor = Floor(name, 0.5, ABSOLUTE)
    assert p_value(floor, y, p, q).effect == pytest.approx(sign * (ours.mean - 0.5))


def test_the_paired_area_test_has_delongs_variance():
    y, p, q = classified(classes=2)

    def placements(score):
        pos, neg = score[y == 1, 1], score[y == 0, 1]
        wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
        return wins.mean(axis=1), wins.mean(axis=0)

    (pos, neg), (pos_q, neg_q) = placements(p), placements(q)
    variance = (pos - pos_q).var(ddof=1) / len(pos) + (neg - neg_q).var(ddof=1) / len(neg)
    test = p_value(Floor("roc_auc", 0.01), y, p, q)
    assert test.test == "DeLong t and bootstrap-t"
    assert test.se == pytest.approx(math.sqrt(variance), rel=0.005)


def test_a_negative_r2_of_the_control_still_gets_worse_by_a_share_of_its_size():
    y, p, q = regressed()
    floor = Floor("r2", 0.1, RATIO)
    shifted = (y, p + 9, q + 9)
    theirs = evals.load("r2").score(y, q + 9)
    assert theirs.mean < 0
    ours = evals.load("r2").score(y, p + 9)
    assert p_value(floor, *shifted).effect == pytest.approx(ours.mean - floor.threshold(theirs))


def test_perplexity_is_tested_over_sequences_in_nats():
    y, p, q = told(worse=0.005)
    difference = (p - q).mean(axis=1)
    test = p_value(Floor("perplexity", 0.05, RATIO), y, p, q)
    assert (test.n, test.test) == (80, "t and bootstrap-t over sequences")
    assert test.effect == pytest.approx(math.log(1.05) + difference.mean())
    assert test.se == pytest.approx(difference.std(ddof=1) / math.sqrt(80), rel=0.01)
    assert test.p_value < 0.01
    assert p_value(Floor("perplexity", 0.001, RATIO), y, p, q).p_value > 0.5


def test_perplexity_against_a_number_and_in_points():
    y, p, q = told()
    value = evals.load("perplexity").score(y, p).mean
    assert p_value(Floor("perplexity", 2 * value, ABSOLUTE), y, p, None).p_value < 0.01
    assert p_value(Floor("perplexity", 0.9 * value, ABSOLUTE), y, p, None).p_value > 0.5
    assert p_value(Floor("perplexity", 0.5, POINTS), y, p, q).p_value < 0.01
    with pytest.raises(BadInputError, match="impossible"):
        p_value(Floor("perplexity", 0.5, ABSOLUTE), y, p, None)


def test_too_few_sequences_or_examples_are_refused():
    y, p, q = told(n=29)
    with pytest.raises(BadInputError, match="29 independent"):
        p_value(Floor("perplexity", 0.05, RATIO), y, p, q)


def test_token_accuracy_is_a_bet_over_sequences():
    generator = np.random.default_rng(0)
    y = generator.integers(5, size=(400, 10))
    right = generator.random((400, 10, 1)) < 0.7
    control = np.where(right, np.eye(5)[y], np.eye(5)[(y + 1) % 5])
    candidate = control.copy()
    candidate[:4, :3] = np.eye(5)[(y[:4, :3] + 1) % 5]
    test = p_value(Floor("accuracy", 0.03), y, candidate, control)
    assert (test.test, test.n) == ("betting over sequences", 400)
    assert test.p_value < 0.05
    assert p_value(Floor("accuracy", 0.0005), y, candidate, control).p_value > 0.05


def test_groups_of_one_tell_the_same_as_no_groups():
    y, p, q = regressed()
    floor = Floor("rmse", 0.15, POINTS)
    alone, grouped = p_value(floor, y, p, q), p_value(floor, y, p, q, groups=np.arange(600))
    assert grouped.p_value == pytest.approx(alone.p_value, abs=1e-12)
    assert grouped.test == "t and bootstrap-t over groups"


def test_copies_in_one_group_make_nobody_surer():
    y, p, q = regressed(n=100)
    copies = np.repeat(np.arange(100), 5)
    floor = Floor("rmse", 0.11, POINTS)
    honest = p_value(floor, y, p, q)
    assert p_value(floor, y[copies], p[copies], q[copies]).p_value < honest.p_value / 2
    grouped = p_value(floor, y[copies], p[copies], q[copies], groups=copies)
    assert grouped.p_value == pytest.approx(honest.p_value, rel=0.2)
    assert grouped.n == 100


def test_accuracy_over_groups_against_a_number_is_hoeffding_bentkus():
    y, p, _ = classified(n=400)
    groups = np.repeat(np.arange(100), 4)
    wrong = (p.argmax(axis=1) != y).reshape(100, 4).mean(axis=1)
    test = p_value(Floor("accuracy", 0.8, ABSOLUTE), y, p, None, groups)
    assert test.p_value == pytest.approx(hoeffding_bentkus(wrong, 0.2))
    assert (test.test, test.n) == ("Hoeffding-Bentkus over groups", 100)


@pytest.mark.parametrize("slack", [POINTS, RATIO, ABSOLUTE])
def test_the_level_is_kept_over_groups_of_unequal_size(slack):
    generator = np.random.default_rng(0)
    share, repeats, rejected = 0.05, 300, 0
    groups = np.repeat(np.arange(120), generator.integers(1, 6, size=120))
    for _ in range(repeats):
        bad = generator.random(120) < share  # whole groups on which only the control is right
        answer = bad[groups].astype(int)
        y = np.zeros(len(groups), dtype=int)
        amount = 1 - share if slack is ABSOLUTE else share
        rejected += p_value(Floor("accuracy", amount, slack), y, answer, y, groups).p_value <= 0.05
    assert rejected / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize("name", ["f1", "roc_auc", "rmse", "r2"])
def test_the_level_is_kept_at_the_floor_itself(name):
    metric = evals.load(name)
    make = regressed if name in {"rmse", "r2"} else classified
    y, p, q = make(n=200_000, seed=999)
    sign = 1 if metric.higher_is_better else -1
    floor = Floor(name, sign * (metric.score(y, q).mean - metric.score(y, p).mean))
    repeats = 150
    rejected = sum(p_value(floor, *make(n=200, seed=seed)).p_value <= 0.05 for seed in range(repeats))
    assert rejected / repeats <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repeats)


def test_a_relative_floor_needs_the_control():
    y, p, _ = classified()
    with pytest.raises(BadInputError, match="without the control"):
        p_value(Floor("accuracy", 0.01), y, p, None)


def test_the_least_number_of_examples_is_just_enough_for_a_flawless_candidate():
    floor = Floor("accuracy", 0.01)
    n = least_n(floor)
    assert n == 299
    y = np.zeros(n, dtype=int)
    assert p_value(floor, y, y, y).p_value <= 0.05
    assert p_value(floor, y[1:-5], y[1:-5], y[1:-5]).p_value > 0.05
    assert least_n(Floor("accuracy", 0.99, ABSOLUTE)) == 299
    assert least_n(Floor("rmse", 0.1)) == 30
    assert least_n(Floor("accuracy", 0.0)) == 1


def test_needed_examples_bring_the_power_promised():
    generator = np.random.default_rng(0)
    law = [0.02, 0.02, 0.96]
    floor = Floor("accuracy", 0.01)

    def test_on(n):
        won, lost, _ = generator.multinomial(n, law)
        control = np.repeat([0, 1], [n - won, won])
        candidate = np.repeat([1, 0], [lost, n - lost])
        return p_value(floor, np.zeros(n, dtype=int), candidate, control)

    n = needed(floor, test_on(20_000))
    passed = np.mean([test_on(n).p_value <= 0.05 for _ in range(400)])
    assert 0.65 < passed < 0.95


def test_no_number_of_examples_saves_a_candidate_that_breaks_the_floor():
    y, p, q = classified(noise=3.0)
    floor = Floor("accuracy", 0.001)
    assert needed(floor, p_value(floor, y, p, q)) is None
