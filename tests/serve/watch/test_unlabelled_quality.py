"""Without labels the share of right answers is estimated, and its interval holds it as often as it says."""

import numpy as np
import pytest
from scipy.stats import binom

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.cbpe import WAYS, Cbpe
from pennyweight.serve.watch.isotonic import Isotonic
from pennyweight.serve.watch.reference import Reference
from pennyweight.serve.watch.temperature import Temperature


def world(rng, rows, shift=0.0, too_sure=2.0):
    """Answers that are `too_sure`: true odds to that power; labels drawn from the true ones; inputs shift."""
    x = rng.normal(size=(rows, 3)) * 1.5
    x[:, 0] += shift
    true = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    told = true**too_sure / (true**too_sure).sum(axis=1, keepdims=True)
    y = (rng.random(rows)[:, None] > np.cumsum(true, axis=1)).sum(axis=1)
    return told, y


def test_a_temperature_finds_how_much_too_sure_a_model_is():
    told, y = world(np.random.default_rng(0), 20_000)
    assert Temperature.fit(told, y).degrees == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_calibrated_chances_are_as_often_right_as_they_say(way):
    rng = np.random.default_rng(1)
    fitted = WAYS[way].fit(*world(rng, 10_000))
    told, y = world(rng, 10_000)
    chance, hit = fitted.chance(told), told.argmax(axis=1) == y
    for low, high in ((0.3, 0.6), (0.6, 0.8), (0.8, 1.0)):
        part = (chance >= low) & (chance < high)
        assert part.sum() > 500
        assert chance[part].mean() == pytest.approx(hit[part].mean(), abs=0.03)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_intervals_hold_the_truth_although_inputs_shift(way, shift):
    rng, repeats, inside = np.random.default_rng(2), 25, 0
    for seed in range(repeats):
        told, y = world(rng, 400, shift)
        estimate = Cbpe.fit(Reference.of(*world_with_rows(rng, 1000)), way, seed).estimate(told)
        inside += estimate.low <= (told.argmax(axis=1) == y).mean() <= estimate.high
    assert inside >= binom.ppf(0.001, repeats, 0.9)


def world_with_rows(rng, rows):
    told, y = world(rng, rows)
    return told, told, y


def test_a_model_that_is_too_sure_is_not_believed():
    rng = np.random.default_rng(3)
    told, y = world(rng, 3000, too_sure=4.0)
    estimate = Cbpe.fit(Reference.of(told[:1500], told[:1500], y[:1500])).estimate(told[1500:])
    true = float((told[1500:].argmax(axis=1) == y[1500:]).mean())
    assert told[1500:].max(axis=1).mean() - true > 0.1
    assert abs(estimate.mean - true) < 0.04


def test_no_chance_is_certain():
    told = np.array([[0.9, 0.1], [0.8, 0.2]])
    chance = Isotonic.fit(told, np.array([0, 0])).chance(told)
    assert (chance < 1).all()


def test_without_labels_or_classes_there_is_nothing_to_calibrate_on():
    told, y = world(np.random.default_rng(4), 200)
    with pytest.raises(BadInputError, match="true classes"):
        Cbpe.fit(Reference.of(told, told))
    with pytest.raises(BadInputError, match="no calibration named"):
        Cbpe.fit(Reference.of(told, told, y), "magic")


def test_for_an_alarm_the_chances_are_a_little_higher_than_for_an_estimate():
    told, y = world(np.random.default_rng(5), 1500)
    fitted = Cbpe.fit(Reference.of(told[:500], told[:500], y[:500]))
    more = fitted.generous(told[500:]).mean() - fitted.estimate(told[500:]).mean
    assert 0.005 < more < 0.08
