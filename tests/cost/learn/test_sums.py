"""Sums of positive parts: factors are found, priors hold where nothing was measured, and trouble does not bend them."""

import numpy as np
import pytest

from pennyweight.cost.learn.sums import Noise, Part, Question, Sum
from pennyweight.errors import BadInputError, CorruptError

PARTS = (Part("read", 0.0, 1.0, {"new": 0.5}), Part("wait", 0.0, 1.0, {}))


def question(rows=200):
    draw = np.random.default_rng(1)
    new = (np.arange(rows) % 2).astype(float)
    return Question({"read": draw.lognormal(0, 1, rows), "wait": draw.lognormal(0, 1, rows)}, {"new": new})


def truth(asked):
    return 2.0 * asked.parts["read"] * np.where(asked.like["new"] > 0, 1.5, 1.0) + 0.5 * asked.parts["wait"]


def test_factors_and_what_shifts_them_are_found():
    asked = question()
    found = Sum.fit(PARTS, asked, truth(asked), Noise(0.01, 2.0))
    assert np.exp(found.logs["read"]) == pytest.approx(2.0, rel=0.01)
    assert np.exp(found.logs["read:new"]) == pytest.approx(1.5, rel=0.01)
    assert np.exp(found.logs["wait"]) == pytest.approx(0.5, rel=0.01)


def test_what_was_never_measured_stays_as_it_was_before():
    asked = question()
    old = asked.take(asked.like["new"] == 0)
    assert Sum.fit(PARTS, old, truth(old)).logs["read:new"] == pytest.approx(0.0, abs=1e-9)


def test_rows_in_trouble_do_not_bend_the_rest():
    asked = question()
    measured = truth(asked)
    measured[:20] *= 30
    found = Sum.fit(PARTS, asked, measured, Noise(0.05, 1.0)).predict(asked)
    assert np.median(np.abs(found[20:] / measured[20:] - 1)) < 0.02


def test_a_sum_is_kept_and_read_again():
    asked = question()
    found = Sum.fit(PARTS, asked, truth(asked))
    again = Sum.restore(PARTS, found.to_dict())
    np.testing.assert_array_equal(again.predict(asked), found.predict(asked))
    with pytest.raises(CorruptError, match="fit it again"):
        Sum.restore(PARTS, {"read": 1.0})


@pytest.mark.parametrize("bad", [0.0, np.nan, -1.0])
def test_only_figures_above_zero_can_be_explained(bad):
    asked = question(4)
    with pytest.raises(BadInputError, match="above zero"):
        Sum.fit(PARTS, asked, np.array([1.0, 2.0, bad, 1.0]))
