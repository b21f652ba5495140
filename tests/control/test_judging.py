"""The two judgements that searching and stopping share: does it hold, and what would it save."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Basis, Bill, Cost, Floor, Score, Slack

MEANS = st.floats(0.01, 1)


def _bill(usd, error=0.0):
    return Bill.of(Basis.PREDICTED, error=error, serve=Cost(usd=usd))


def test_the_expected_saving_is_the_mean_over_what_the_two_bills_may_turn_out_to_be():
    dice = np.random.default_rng(0)
    for mine, error, other, its in ((100, 0.1, 90, 0.2), (100, 0.0, 120, 0.3), (100, 0.2, 100, 0.2)):
        now, then = (dice.normal(usd, usd * e / 1.96, 400_000) for usd, e in ((mine, error), (other, its)))
        sampled = np.maximum(0, now - then).mean()
        assert _bill(mine, error).expected_saving_usd(_bill(other, its)) == pytest.approx(sampled, rel=0.02, abs=0.02)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 2), st.floats(0, 2))
def test_a_saving_is_never_negative_and_uncertainty_only_adds_to_it(mine, other, error, its):
    sure = _bill(mine).expected_saving_usd(_bill(other))
    assert sure == max(0.0, mine - other)
    assert _bill(mine, error).expected_saving_usd(_bill(other, its)) >= sure * (1 - 1e-9) - 1e-9


@given(MEANS, st.floats(0, 0.1), MEANS, st.floats(0, 0.2), st.sampled_from(["accuracy", "log_loss"]))
def test_the_chance_is_a_half_on_the_floor_and_agrees_with_holds(mean, se, control, amount, metric):
    floor, asked = Floor(metric, amount), Score(metric, control, 0.01, 100)
    score = Score(metric, mean, se, 100)
    chance = floor.chance(score, asked)
    assert 0 <= chance <= 1
    if abs(chance - 0.95) > 1e-6 and se > 1e-6:
        assert (chance > 0.95) == floor.holds(score, asked)
    on_it = replace(score, mean=floor.threshold(asked), se=0.01)
    assert floor.chance(on_it, asked) == pytest.approx(0.5)


def test_a_score_without_noise_holds_or_not():
    floor = Floor("accuracy", 0.9, Slack.ABSOLUTE)
    assert floor.chance(Score("accuracy", 0.9, 0.0, 10)) == pytest.approx(1.0)
    assert floor.chance(Score("accuracy", 0.8999, 0.0, 10)) == pytest.approx(0.0)
