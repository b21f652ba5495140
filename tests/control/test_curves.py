"""Forecasts of learning curves hold what they promise."""

import time
from types import MappingProxyType

import numpy as np
import pytest

from pennyweight.control.curves import Curve, Outlook
from pennyweight.control.earlier import Earlier, curves_of, note_of
from pennyweight.control.effort import Effort
from pennyweight.control.spaces import Space
from pennyweight.core import TrainSpec
from pennyweight.errors import BadInputError


def power(rng, noise=0.02, points=40):
    x = np.arange(1, points + 1) * 25.0
    clean = rng.uniform(0.02, 0.5) + rng.uniform(0.5, 2.5) * (1 + x / rng.uniform(5, 300)) ** -rng.uniform(0.4, 2)
    return Curve.of(x.tolist(), (clean * rng.lognormal(0, noise, points)).tolist())


@pytest.fixture(scope="module")
def curves():
    rng = np.random.default_rng(3)
    return [power(rng, rng.uniform(0.005, 0.05)) for _ in range(60)]


def test_nine_in_ten_intervals_hold_the_end_of_the_curve(curves):
    held, earlier = [], Earlier.of(curves[:16], Space.LOSS, 1000)
    for curve in curves[16:]:
        for cut in (0.2, 0.5):
            found = earlier.outlook(curve.upto(cut * 1000), 1000).forecast(1000)
            held.append(found.low <= curve.y[-1] <= found.high)
    assert 0.8 <= np.mean(held) <= 0.99


def test_a_forecast_is_nearer_to_the_end_than_the_last_score_is(curves):
    ours, last = [], []
    for curve in curves:
        begun = curve.upto(300)
        ours.append(abs(Outlook(begun, 1000).forecast(1000).mean - curve.y[-1]))
        last.append(abs(begun.y[-1] - curve.y[-1]))
    assert np.median(ours) < 0.6 * np.median(last)


def test_earlier_runs_make_intervals_narrower():
    rng = np.random.default_rng(0)
    x = np.arange(1, 41) * 25.0
    alike = [0.1 + 2 * (1 + x / 40) ** -0.8 * rng.lognormal(0, 0.01, 40) for _ in range(10)]
    earlier = Earlier.of([Curve.of(x.tolist(), y.tolist()) for y in alike[:-1]], Space.LOSS, 1000)
    begun = Curve.of(x[:6].tolist(), alike[-1][:6].tolist())
    taught, alone = earlier.outlook(begun, 1000).forecast(1000), Outlook(begun, 1000).forecast(1000)
    assert taught.high - taught.low < 0.5 * (alone.high - alone.low)
    assert taught.low <= alike[-1][-1] <= taught.high


def test_a_run_unlike_the_earlier_ones_is_not_pressed_into_their_form():
    rng = np.random.default_rng(0)
    x = np.arange(1, 41) * 25.0
    low = [Curve.of(x.tolist(), (0.01 + 0.1 / x * rng.lognormal(0, 0.01, 40)).tolist()) for _ in range(8)]
    odd = 2.0 + 0.5 * (1 + x / 40) ** -0.8
    found = Earlier.of(low, Space.LOSS, 1000).outlook(Curve.of(x[:20].tolist(), odd[:20].tolist()), 1000).forecast(1000)
    assert found.mean == pytest.approx(odd[-1], rel=0.05)


def test_the_chance_of_a_target_falls_as_it_becomes_harder_and_rises_with_time(curves):
    outlook = Outlook(curves[0].upto(250), 1000)
    targets = [curves[0].y[10] * factor for factor in (1.5, 0.9, 0.7, 0.3)]
    chances = [outlook.chance(target, 1000) for target in targets]
    assert chances == sorted(chances, reverse=True)
    assert (chances[0], outlook.chance(1e-9, 1000)) == (1.0, 0.0)
    assert outlook.chance(targets[2], 400) <= outlook.chance(targets[2], 1000)
    assert 250 <= outlook.reach(targets[1], 1000) <= 1000
    assert outlook.reach(1e-9, 1000) is None


def test_a_known_standard_error_makes_a_reached_target_less_sure():
    rng = np.random.default_rng(0)
    x = np.arange(1, 31) * 10.0
    accuracy = np.minimum(0.95 - 0.5 * np.exp(-x / 40) + rng.normal(0, 0.002, 30), 1.0)
    outlook = Outlook(Curve.of(x.tolist(), accuracy.tolist(), [0.01] * 30, rises=True), 600)
    exact, noisy = outlook.chance_at(0.94, 300), outlook.chance_at(0.94, 300, se=0.01)
    assert exact > 0.95 > noisy > 0.5
    found = outlook.forecast(600)
    assert 0 <= found.low <= found.high <= 1


def test_equal_points_give_equal_numbers(curves):
    assert Outlook(curves[1].upto(300), 1000).forecast(900) == Outlook(curves[1].upto(300), 1000).forecast(900)


def test_a_forecast_takes_milliseconds(curves):
    outlooks = [Outlook(curve, 2000) for curve in curves[:10]]
    began_s = time.process_time()
    for each in outlooks:
        each.forecast(2000)
    assert (time.process_time() - began_s) / 10 < 0.1  # some 3 ms; the rest is for machines with much else to do


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2], [1.0]), ([2, 1], [1.0, 2.0]), ([0, 1], [1.0, 2.0]), ([1, 2], [1.0, float("nan")])]
)
def test_points_that_are_no_curve_are_refused(x, y):
    with pytest.raises(BadInputError, match=r"curve.*To fix"):
        Curve.of(x, y)


def test_three_points_are_too_few():
    with pytest.raises(BadInputError, match="too few"):
        Outlook(Curve.of([1, 2, 3], [3, 2, 1]), 10)


def test_a_curve_comes_back_from_the_ledger_as_it_was(curves):
    class Kept:
        note = note_of(curves[0], "log_loss")

    class Bare:
        note = MappingProxyType({})

    assert curves_of([Kept, Bare], "log_loss") == [curves[0]]
    assert curves_of([Kept], "accuracy") == []


def test_steps_without_a_learning_rate_are_worth_nothing():
    cosine, constant = Effort(TrainSpec(schedule="cosine"), 100), Effort(TrainSpec(), 100)
    assert constant(37) == pytest.approx(37)
    assert cosine(100) == pytest.approx(100)
    assert cosine(100) - cosine(90) < 1
    assert cosine(10) > 10
    assert cosine.step(cosine(42)) == pytest.approx(42)
