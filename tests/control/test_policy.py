"""Changes are proposed when they pay, and only then."""

import json
import math

import pytest

from pennyweight.control.curves import Curve, Outlook
from pennyweight.control.policy import Left, Place, batch_size, best_change, hardware, learning_rate, precision
from pennyweight.train.noise import Noise

LEFT = Left(steps=1000, step_usd=0.01)


def noise(rows):
    return Noise(rows, 1.0, rows)


def step_usd(rows):
    return 0.009 + 0.001 * rows / 32


def test_a_noisy_gradient_asks_for_larger_batches_where_steps_are_mostly_overhead():
    change = batch_size(LEFT, 32, noise(500), step_usd, (32, 64, 128, 256, 512))
    assert int(change.new) > 64
    assert change.saving_usd == pytest.approx(
        10 - 1000 * noise(500).steps(int(change.new)) / noise(500).steps(32) * step_usd(int(change.new))
    )
    assert "500 rows" in change.reason


def test_a_clean_gradient_or_an_endless_noise_changes_nothing():
    assert batch_size(LEFT, 32, noise(1), step_usd, (32, 256)) is None
    assert batch_size(LEFT, 32, noise(math.inf), step_usd, (32, 256)) is None


def test_a_precision_is_changed_only_if_its_steps_are_cheaper():
    assert precision(LEFT, "float32", {"float32": 0.01, "bfloat16": 0.0099}) is None
    change = precision(LEFT, "float32", {"float32": 0.01, "bfloat16": 0.006})
    assert (change.new, change.saving_usd) == ("bfloat16", pytest.approx(4.0))


def test_moving_must_pay_for_itself():
    here, fast = Place("here", 1.0, 1.0), Place("fast", 2.0, 4.0, move_usd=1.0)
    assert hardware(LEFT, here, [fast]).saving_usd == pytest.approx(10 - 5 - 1)
    assert hardware(LEFT, here, [Place("far", 2.0, 4.0, move_usd=6.0)]) is None
    assert hardware(LEFT, here, []) is None


def test_a_rate_that_leads_nowhere_is_lowered():
    x = [10.0 * at for at in range(1, 31)]
    flat = Outlook(Curve.of(x, [1 + 0.002 * (at % 3) for at in range(30)]), 600)
    change = learning_rate(LEFT, 1e-2, flat, 0.3, (1e-3, 0.5))
    assert (change.old, change.new) == ("0.01", "0.001")
    assert learning_rate(LEFT, 1e-2, flat, 1.5, (1e-3, 0.5)) is None


def test_the_change_that_saves_most_wins_and_is_plain_json():
    small = precision(LEFT, "float32", {"bfloat16": 0.009})
    large = hardware(LEFT, Place("here", 1.0, 1.0), [Place("fast", 1.0, 2.0)])
    best = best_change([small, None, large])
    assert best is large
    assert json.loads(json.dumps(best.facts()))["what"] == "hardware"
    assert "here → fast saves $5.00" in str(best)
    assert best_change([None]) is None
