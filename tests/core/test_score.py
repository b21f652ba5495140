import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pennyweight.core import Floor, Score, Slack, higher_is_better
from pennyweight.errors import BadInputError

means = st.floats(min_value=0, max_value=1)
errors = st.floats(min_value=0, max_value=0.3)
levels = st.floats(min_value=0.51, max_value=0.999)
metrics = st.sampled_from(["accuracy", "f1", "log_loss", "rmse"])
scores = st.builds(Score, metrics, means, errors, st.integers(min_value=1, max_value=10**6))


@given(scores, levels)
def test_the_bound_is_on_the_bad_side_of_the_mean(score, level):
    bound = score.bound(level)
    assert bound <= score.mean if higher_is_better(score.metric) else bound >= score.mean


@given(scores, levels, levels)
def test_to_be_surer_is_to_be_more_pessimistic(score, one, other):
    less, more = sorted((one, other))
    distance = abs(score.bound(more) - score.mean) - abs(score.bound(less) - score.mean)
    assert distance >= -1e-12


@given(scores)
def test_the_95_percent_bound_is_1_645_standard_errors_away(score):
    assert abs(score.bound(0.95) - score.mean) == pytest.approx(1.6448536 * score.se, rel=1e-6, abs=1e-9)


@given(scores, st.floats(min_value=0, max_value=1), levels)
def test_a_score_that_holds_a_floor_holds_every_lower_one(score, fall, level):
    floor = Floor(score.metric, 0.5, Slack.ABSOLUTE, level)
    easier = Floor(score.metric, 0.5 - fall if score.higher_is_better else 0.5 + fall, Slack.ABSOLUTE, level)
    if floor.holds(score):
        assert easier.holds(score)


@given(scores, scores, st.floats(min_value=0, max_value=0.5))
def test_a_relative_floor_lies_on_the_bad_side_of_the_control(score, control, amount):
    assume(score.metric == control.metric)
    for slack in (Slack.POINTS, Slack.RATIO):
        threshold = Floor(score.metric, amount, slack).threshold(control)
        assert threshold <= control.mean if control.higher_is_better else threshold >= control.mean


def test_points_and_ratios_of_a_control_are_what_they_say():
    control = Score("accuracy", 0.9, 0.0, 100)
    assert Floor("accuracy", 0.003).threshold(control) == pytest.approx(0.897)
    assert Floor("accuracy", 0.01, Slack.RATIO).threshold(control) == pytest.approx(0.891)
    assert Floor("perplexity", 0.01, Slack.RATIO).threshold(Score("perplexity", 5.0, 0, 10)) == pytest.approx(5.05)


def test_the_control_itself_holds_a_relative_floor_only_if_it_is_known_well_enough():
    sure, unsure = Score("accuracy", 0.9, 0.001, 10**5), Score("accuracy", 0.9, 0.05, 36)
    floor = Floor("accuracy", 0.01)
    assert floor.holds(sure, sure)
    assert not floor.holds(unsure, unsure)


def test_a_relative_floor_without_a_control_is_refused():
    with pytest.raises(BadInputError, match="measure the control first"):
        Floor("accuracy", 0.01).threshold()


def test_a_floor_says_nothing_about_another_metric():
    with pytest.raises(BadInputError, match="says nothing about f1"):
        Floor("accuracy", 0.9, Slack.ABSOLUTE).holds(Score("f1", 1.0, 0.0, 10))


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0, 1.5])
def test_a_confidence_nobody_can_have_is_refused(confidence):
    with pytest.raises(BadInputError, match=r"between 0\.5 and 1"):
        Floor("accuracy", 0.01, confidence=confidence)


@pytest.mark.parametrize("amount", [-0.01, math.nan, math.inf])
def test_a_negative_or_endless_slack_is_refused(amount):
    with pytest.raises(BadInputError, match="give up zero or more"):
        Floor("accuracy", amount)


@given(st.floats(min_value=0.01, max_value=99.99))
def test_a_floor_is_read_from_text(value):
    floor = Floor.parse(f"accuracy = {value!r}%")
    assert floor.metric == "accuracy"
    assert floor.slack is Slack.ABSOLUTE
    assert floor.amount == pytest.approx(value / 100)


@pytest.mark.parametrize("text", ["accuracy", "98%", "accuracy:98%", "=3"])
def test_what_is_no_floor_is_refused_with_an_example(text):
    with pytest.raises(BadInputError, match=r"accuracy=98\.5%"):
        Floor.parse(text)


def test_a_floor_says_itself_in_words():
    assert str(Floor("accuracy", 0.003)) == "accuracy at most 0.3 points worse than the control, 95% sure"
    assert str(Floor("rmse", 2.5, Slack.ABSOLUTE)) == "rmse at most 2.5, 95% sure"
    assert str(Floor("perplexity", 0.01, Slack.RATIO)) == "perplexity at most 1% worse than the control, 95% sure"


@given(scores, st.floats(min_value=-1, max_value=2))
def test_the_chance_of_holding_a_floor_falls_as_the_floor_rises(score, amount):
    floor, higher = (Floor(score.metric, each, Slack.ABSOLUTE) for each in (amount, amount + 0.1))
    easier, harder = (floor, higher) if score.higher_is_better else (higher, floor)
    assert 0 <= harder.chance(score) <= easier.chance(score) <= 1


def test_a_score_on_the_floor_is_as_likely_above_as_below():
    assert Floor("accuracy", 0.9, Slack.ABSOLUTE).chance(Score("accuracy", 0.9, 0.01, 900)) == pytest.approx(0.5)
    assert Floor("accuracy", 0.9, Slack.ABSOLUTE).chance(Score("accuracy", 0.9, 0.0, 900)) == 1.0
    assert Floor("rmse", 0.9, Slack.ABSOLUTE).chance(Score("rmse", 1.0, 0.0, 900)) == 0.0
