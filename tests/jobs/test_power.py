"""How many examples a floor needs, held against the tests that will be made in the end."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.core import Floor, Slack
from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError
from pennyweight.evals import exact
from pennyweight.evals.paired import p_value
from pennyweight.jobs.checks import check_power
from pennyweight.jobs.power import enough, least_examples, power

LEVEL = 0.045  # of the first look, where one wants to be 95% sure


def of(y, groups=None):
    return Arrays(np.zeros((len(y), 1)), np.asarray(y), groups)


def classes(*counts):
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize("metric", ["accuracy", "f1_micro", "precision_micro", "recall_micro"])
def test_shares_of_right_answers_need_what_the_exact_test_needs(metric):
    assert least_examples(Floor(metric, 0.03), of(classes(5, 5))) == 102
    assert least_examples(Floor(metric, 0.98, Slack.ABSOLUTE), of(classes(5, 5))) == 154


@pytest.mark.parametrize("slack", [Slack.POINTS, Slack.ABSOLUTE])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "recall", "roc_auc", "pr_auc"])
@pytest.mark.parametrize("shares", [(1, 1), (9, 1), (4, 3, 1)])
def test_with_one_example_fewer_the_very_test_fails_and_with_the_least_it_passes(slack, metric, shares):
    # In whole multiples of the shares, so that these do not change with n.
    amount = 0.05 if slack is Slack.POINTS else 0.95
    floor, tested, step = Floor(metric, amount, slack), Floor(metric, amount, slack, 1 - LEVEL), sum(shares)
    least = least_examples(floor, of(classes(*shares)))
    for times, passes in ((math.ceil(least / step), True), ((least - 1) // step, False)):
        y = classes(*(times * share for share in shares))
        faultless = np.eye(len(shares))[y]
        assert (p_value(tested, y, faultless, faultless).p_value <= LEVEL) is passes
        assert enough(floor, of(y)) is passes


def test_rare_classes_make_more_examples_necessary():
    floor = Floor("balanced_accuracy", 0.05)
    even, uneven = (least_examples(floor, of(classes(*counts))) for counts in ((500, 500), (950, 50)))
    assert even == pytest.approx(-math.log(LEVEL) / 0.05, rel=0.1)
    assert uneven == pytest.approx(10 * even, rel=0.1)


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "perplexity", "log_loss", "f1", "precision"])
def test_metrics_without_a_bound_need_as_many_as_their_test_accepts(metric):
    assert least_examples(Floor(metric, 0.1, Slack.RATIO), of(np.arange(40) % 2)) == 30


@pytest.mark.parametrize(
    ("floor", "y", "said"),
    [
        (Floor("rmse", 0.1, Slack.RATIO), np.arange(29.0), "29 rows to certify .* at least 30.*give 30 rows"),
        (Floor("perplexity", 0.1, Slack.RATIO), np.zeros((12, 8), int), "12 sequences to certify .* at least 30"),
        (Floor("recall_micro", 0.003), classes(300, 300), "600 rows to certify .* at least 1033"),
        (Floor("balanced_accuracy", 0.02), classes(190, 10), "200 rows to certify .* at least 1[0-9]{3}"),
        (Floor("roc_auc", 0.01), classes(90, 10), "100 rows to certify .* at least [23][0-9]{3}"),
    ],
)
def test_a_floor_that_no_candidate_could_pass_is_refused_with_the_number_that_is_needed(floor, y, said):
    with pytest.raises(BadInputError, match=said):
        check_power(floor, of(y))


def test_groups_count_as_one_example_each():
    y, groups = classes(300, 300), np.arange(600) // 10
    check_power(Floor("accuracy", 0.03), of(y))
    with pytest.raises(BadInputError, match=r"60 groups to certify .* at least 102"):
        check_power(Floor("accuracy", 0.03), of(y, groups))
    found = power(Floor("accuracy", 0.1), of(y, groups))
    assert (found.n, found.unit, found.likely) == (60, "groups", None)


def test_giving_up_nothing_is_not_refused_for_better_candidates_may_pass():
    for metric in ("accuracy", "balanced_accuracy", "roc_auc"):
        check_power(Floor(metric, 0.0), of(classes(30, 30)))


def test_a_class_that_is_missing_where_it_is_ranked_is_said():
    with pytest.raises(BadInputError, match="no example of class 1"):
        check_power(Floor("roc_auc", 0.1), of(np.array([0, 2] * 50)))


def test_the_finest_floor_is_where_too_few_begin():
    for metric, slack in (("accuracy", Slack.POINTS), ("balanced_accuracy", Slack.POINTS), ("recall", Slack.ABSOLUTE)):
        y, sign = of(classes(300, 100)), -1 if slack is Slack.ABSOLUTE else 1
        finest = power(Floor(metric, 0.5, slack), y).finest
        assert enough(Floor(metric, finest + sign * 1e-4, slack), y)
        assert not enough(Floor(metric, finest - sign * 1e-4, slack), y)
    assert power(Floor("mae", 0.1), of(np.arange(99.0))).finest is None


def test_the_number_that_is_likely_to_do_does_so_four_times_in_five_for_accuracy():
    floor = Floor("accuracy", 0.03)
    found = power(floor, of(classes(500, 500)))
    chance = 0.0
    for other in range(found.likely + 1):
        weight = binom.pmf(other, found.likely, found.differs)
        if weight > 1e-4:
            won = np.arange(other + 1)
            sure = [
                exact.points(exact.Pairs(found.likely, int(each), int(other - each), 0), 0.03) <= LEVEL for each in won
            ]
            chance += weight * (binom.pmf(won, other, 0.5) @ sure)
    assert chance == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1"])
def test_and_about_so_for_means_over_uneven_classes(metric):
    floor = Floor(metric, 0.1)
    found = power(floor, of(classes(800, 200)))
    generator, passed = np.random.default_rng(0), 0
    for _ in range(100):
        y = (generator.random(found.likely) < 0.2).astype(int)
        control = np.where(generator.random(len(y)) < found.differs / 2, 1 - y, y)
        candidate = np.where(generator.random(len(y)) < found.differs / 2, 1 - y, y)
        passed += p_value(floor, y, candidate, control).p_value <= LEVEL
    assert 60 <= passed <= 100


def test_what_it_takes_is_said_in_words():
    said = str(power(Floor("accuracy", 0.03), of(classes(250, 250))))
    assert said.startswith("The certify split has 500 rows; to show accuracy at most 3 points worse than the control")
    assert "at least 102, and about 430" in said
    assert "answers 6% of them otherwise" in said
    assert said.endswith("0.62 points.")
    assert "which only measuring tells" in str(power(Floor("mae", 0.1), of(np.arange(99.0))))
    absolute = str(power(Floor("accuracy", 0.9, Slack.ABSOLUTE), of(classes(250, 250))))
    assert "errs half as often" in absolute
    assert absolute.endswith("could show is accuracy at least 0.9938.")


def test_a_million_rows_take_no_longer_than_a_moment():
    floor, y = Floor("balanced_accuracy", 1e-4), classes(1_500_000, 500_000)
    assert least_examples(floor, of(y)) == pytest.approx(-math.log(LEVEL) * 2 / 1e-4, rel=0.1)
    assert enough(floor, of(y))
