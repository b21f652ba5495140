"""Requests wait for each other only where somebody comes, and only as long as an answer may take."""

from dataclasses import replace

import pytest

from pennyweight import backends
from pennyweight.catalog import load_device, load_prices
from pennyweight.core import Demand
from pennyweight.cost.predict import Predictor
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.levers.batching import Batching
from pennyweight.testing import LeverLaws
from pennyweight.testing.jobs import busy_job, linear_job


class TestLaws(LeverLaws):
    lever = Batching

    @classmethod
    def jobs(cls):
        return (busy_job(),)


def test_longer_waits_make_larger_calls_and_none_is_longer_than_half_of_what_is_allowed():
    found = list(Batching.choices(busy_job()))
    assert [each.wait_ms for each in found] == [1.25, 2.5, 5.0, 10.0]
    assert [each.usual for each in found] == [14, 26, 51, 101], "10,000 requests a second, and the one who waits"
    assert all(each.usual < each.rows <= 256 for each in found)


@pytest.mark.parametrize(
    "demand", [Demand(1e15), Demand(1e3, latency_s=0.05), Demand(0.0, latency_s=0.05)], ids=["unsaid", "few", "none"]
)
def test_nobody_waits_where_nobody_said_for_how_long_or_nobody_comes(demand):
    assert not list(Batching.choices(replace(linear_job(), demand=demand)))


def test_requests_of_several_rows_make_calls_of_several_requests():
    job = busy_job()
    job = replace(job, demand=replace(job.demand, batch=4))
    assert {each.usual % 4 for each in Batching.choices(job)} <= {0, 1, 2, 3}
    smallest = next(Batching.choices(job))
    assert smallest.usual == round(4 * (1 + 2_500 * 0.00125))


def test_a_call_costs_less_for_each_example_on_paper():
    job, predictor = busy_job(), Predictor(load_device("amd-zen4"), load_prices())
    asked = predictor.unit(job.spec).value
    found = [predictor.unit(each.rewrite(job.spec)).value for each in Batching.choices(job)]
    assert found == sorted(found, reverse=True)
    assert found[0] < asked / 3, "sklearn's overhead per call is most of what it takes"


def test_it_is_refused_where_calls_are_as_large_already_or_wait_already():
    spec = busy_job().spec
    served = Batching(32, 5.0, 8).rewrite(spec)
    assert "wait for each other already" in Batching(64, 9.0, 16).fits(served).reason
    assert "without any wait" in Batching(32, 5.0, 8).fits(replace(spec, serve=replace(spec.serve, batch=8))).reason
    work = backends.load("sklearn").open(busy_job())
    with pytest.raises(NoEffectError, match="pull it once"):
        Batching(64, 9.0, 16).pull(work.having(spec=served))


@pytest.mark.parametrize("wrong", [(0, 5.0, 1), (8, 0.0, 2), (8, 5.0, 9), (8, 5.0, 0)])
def test_calls_that_cannot_be_are_refused(wrong):
    with pytest.raises(BadInputError, match="cannot be"):
        Batching(*wrong)
