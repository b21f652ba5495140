import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import DataSpec, Demand, Floor, Form, Job, Kind, Limits, Op, Slack, Spec, Task
from pennyweight.errors import BadInputError

OPS = (Op("fc", Kind.LINEAR, 4, 2),)


def spec(task: Task) -> Spec:
    return Spec(Form.MODULE, OPS, DataSpec(100, 16.0, task))


@given(
    st.floats(min_value=0, max_value=1e15),
    st.floats(min_value=1e-3, max_value=1e5),
    st.integers(min_value=1, max_value=10**6),
)
def test_every_sensible_demand_can_be_asked_for(predictions, days, batch):
    demand = Demand(predictions, days, batch)
    assert (demand.predictions, demand.days, demand.batch) == (predictions, days, batch)


@pytest.mark.parametrize(
    "wrong",
    [{"predictions": -1}, {"predictions": math.inf}, {"predictions": math.nan}, {"days": 0}, {"batch": 0}],
)
def test_a_demand_nobody_can_serve_is_refused(wrong):
    with pytest.raises(BadInputError, match="cannot be served"):
        Demand(**wrong)


@pytest.mark.parametrize("name", ["usd", "wall_s", "memory_byte", "trials"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_limit_that_leaves_nothing_is_refused_by_name(name, value):
    with pytest.raises(BadInputError, match=name):
        Limits(**{name: value})


def test_no_limit_is_no_limit():
    assert Limits() == Limits(None, None, None, None)


@pytest.mark.parametrize(
    ("task", "metric", "slack"),
    [
        (Task.CLASSIFY, "accuracy", Slack.POINTS),
        (Task.CLASSIFY, "log_loss", Slack.RATIO),
        (Task.REGRESS, "rmse", Slack.ABSOLUTE),
        (Task.REGRESS, "r2", Slack.POINTS),
        (Task.LANGUAGE, "perplexity", Slack.RATIO),
        (Task.LANGUAGE, "log_loss", Slack.POINTS),
    ],
)
def test_a_floor_that_fits_the_task_is_taken(task, metric, slack):
    assert Job("job", spec(task), Floor(metric, 0.01, slack)).floor.metric == metric


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        (Task.CLASSIFY, "rmse"),
        (Task.CLASSIFY, "perplexity"),
        (Task.REGRESS, "accuracy"),
        (Task.LANGUAGE, "f1"),
        (Task.LANGUAGE, "accuracy"),
    ],
)
def test_a_floor_on_what_the_task_does_not_answer_is_refused(task, metric):
    with pytest.raises(BadInputError, match=f"floor is on {metric}"):
        Job("job", spec(task), Floor(metric, 0.01))


def test_a_language_job_is_told_which_metrics_it_can_have():
    with pytest.raises(BadInputError, match=r"predict the next token.*use perplexity or log_loss"):
        Job("job", spec(Task.LANGUAGE), Floor("accuracy", 0.01))


def test_a_job_without_a_name_is_refused():
    with pytest.raises(BadInputError, match="give it a name"):
        Job("", spec(Task.CLASSIFY), Floor("accuracy", 0.01))


def test_the_material_is_no_part_of_what_a_job_is():
    floor = Floor("accuracy", 0.01)
    assert Job("job", spec(Task.CLASSIFY), floor, material=object()) == Job("job", spec(Task.CLASSIFY), floor)
    assert "material" not in repr(Job("job", spec(Task.CLASSIFY), floor, material="secret"))
