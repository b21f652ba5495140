"""The expected time of an interrupted run, against runs that are interrupted by chance."""

import math

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError
from pennyweight.layout.plans.training import TrainWork
from pennyweight.layout.plans.upkeep import Care, factor, interval_s, machine_interruptions_hour, upkeep


def simulated(checkpoint_s, restart_s, mean_s, every_s, pieces=20000):
    """Wall seconds over useful ones when each piece is begun again until it is through."""
    random = np.random.default_rng(1)
    wall = 0.0
    for _ in range(pieces):
        need = every_s + checkpoint_s
        left = random.exponential(mean_s)
        while left < need:
            wall += left
            need = restart_s + every_s + checkpoint_s
            left = random.exponential(mean_s)
        wall += need
    return wall / (pieces * every_s)


@pytest.mark.parametrize(("checkpoint_s", "restart_s", "mean_s"), [(30, 600, 20000), (60, 300, 3000), (5, 60, 500)])
def test_the_formula_agrees_with_runs_by_chance(checkpoint_s, restart_s, mean_s):
    """Daly's counts a restart as beginning each piece anew at e^(R/M); both are the same where restarts are rare."""
    every_s = float(interval_s(checkpoint_s, mean_s))
    said = float(factor(checkpoint_s, restart_s, mean_s, every_s))
    found = simulated(checkpoint_s, restart_s, mean_s, every_s)
    assert said == pytest.approx(found, rel=0.03)
    assert said > 1.02


@pytest.mark.parametrize("mean_s", [500.0, 5000.0, 1e6])
def test_no_other_interval_is_better(mean_s):
    best = float(interval_s(20.0, mean_s))
    here = factor(20.0, 60.0, mean_s, best)
    tried = factor(20.0, 60.0, mean_s, best * np.geomspace(0.05, 20, 400))
    assert here <= tried.min() * 1.001


def test_to_first_order_it_is_youngs():
    assert float(interval_s(1.0, 1e8)) == pytest.approx(math.sqrt(2e8), rel=1e-3)


def test_a_checkpoint_longer_than_the_time_between_interruptions_is_taken_after_that_time():
    assert float(interval_s(100.0, 10.0)) == 10.0


def test_what_is_never_interrupted_costs_nothing_more():
    work = TrainWork(model("llama-3-8b"), 1e12)
    kept = upkeep(work, 8, 0.0, Care(failures_device_hour=0))
    assert kept.factor == 1
    assert np.isinf(kept.every_s)


def test_a_run_that_never_ends_is_infinite_and_no_nan():
    work = TrainWork(model("llama-3-8b"), 1e12)
    kept = upkeep(work, np.array([8.0]), np.array([1e9]), Care())
    assert np.isposinf(kept.factor).all()


def test_more_devices_are_interrupted_more_often_and_save_faster():
    work = TrainWork(model("llama-3-70b"), 1e12)
    kept = upkeep(work, np.array([64.0, 1024.0, 16384.0]), np.zeros(3), Care())
    assert (np.diff(kept.interruptions_hour) > 0).all()
    assert (np.diff(kept.checkpoint_s) < 0).all()
    assert (np.diff(kept.factor) > 0).all()


def test_the_published_run_of_16384_devices_lost_less_than_a_tenth():
    """Llama Team 2024: more than 90% effective training time."""
    kept = upkeep(TrainWork(model("llama-3.1-405b"), 1e12), 16384, 0.0, Care())
    assert 1.02 < float(kept.factor) < 1 / 0.9


def test_an_unknown_class_is_taken_for_the_worst():
    assert machine_interruptions_hour("", Care()) == machine_interruptions_hour(">20%", Care())
    assert machine_interruptions_hour("<5%", Care()) < machine_interruptions_hour("", Care())
    assert machine_interruptions_hour("<5%", Care(kept_h=24)) > 20 * machine_interruptions_hour("<5%", Care())


def test_a_storage_that_stores_nothing_is_refused():
    with pytest.raises(BadInputError, match="0 B/s"):
        Care(storage_byte_s=0)
