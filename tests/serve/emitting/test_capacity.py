"""The rate that is promised is kept by the queue that it is promised for, and what it costs follows."""

import numpy as np
import pytest

from pennyweight.errors import BadInputError
from pennyweight.serve.emitting.capacity import COMMIT_S, Capacity, request_usd


def waited(capacity, rate_s, seed=0, count=40_000):
    """Seconds of each of `count` requests that arrive at random: what comes during a batch is the next one."""
    came = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_s, count))
    took, free_s, at = np.empty(count), 0.0, 0
    while at < count:
        start_s = max(free_s, came[at])
        end = max(at + 1, int(np.searchsorted(came, start_s, side="right")))
        free_s = start_s + capacity.batch_s + capacity.each_s * (end - at)
        took[at:end] = free_s - came[at:end]
        at = end
    return took + 2 * COMMIT_S


@pytest.mark.parametrize("slo_s", [0.015, 0.05, 0.2])
@pytest.mark.parametrize(("batch_s", "each_s"), [(0.0, 2e-4), (1e-3, 2e-4), (4e-3, 5e-5), (2e-4, 2e-3), (1e-4, 1e-3)])
def test_ninety_nine_of_a_hundred_are_answered_in_time_at_the_rate_that_is_promised(batch_s, each_s, slo_s):
    capacity = Capacity(batch_s, each_s, slo_s)
    assert np.quantile(waited(capacity, capacity.rate_s), 0.99) <= slo_s


def test_they_are_not_much_above_it():
    capacity = Capacity(4e-3, 5e-5, 0.015)
    assert capacity.rate_s < 0.7 / capacity.each_s, "the objective is what limits it here"
    assert np.quantile(waited(capacity, 1.6 * capacity.rate_s), 0.99) > 0.015


def test_more_time_is_never_a_lower_rate():
    rates = [Capacity(1e-3, 2e-4, slo_s).rate_s for slo_s in (0.0075, 0.01, 0.02, 0.05, 1.0, 60.0)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1] == pytest.approx(0.8 / 2e-4)


def test_what_is_under_way_is_rate_times_seconds():
    capacity = Capacity(4e-3, 5e-5, 0.02)
    rate_s = capacity.rate_s
    mean_s = waited(capacity, rate_s).mean()
    assert capacity.ongoing(rate_s) == pytest.approx(rate_s * mean_s, rel=0.3)


def test_a_request_costs_the_hour_by_the_requests_of_an_hour():
    assert request_usd(0.36, 1000.0) == pytest.approx(1e-7)


def test_an_objective_that_one_request_breaks_is_refused():
    with pytest.raises(BadInputError, match="one request alone takes"):
        Capacity(4e-3, 1e-3, 0.01)


@pytest.mark.parametrize("wrong", [(0.0, 0.0, 1.0), (-1.0, 1.0, 1.0), (0.0, 1e-3, 0.0)])
def test_no_time_is_refused(wrong):
    with pytest.raises(BadInputError, match="in no time"):
        Capacity(*wrong)
