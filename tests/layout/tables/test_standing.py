"""Forecasts of rows that something stands in for are less sure, and say so; others stay as they are."""

import numpy as np
import pytest

from pennyweight.layout.tables.standing import joined, widened
from pennyweight.layout.tables.table import Forecast


def forecast():
    return Forecast(np.array([2.0, 2.0]), np.array([1.0, 1.0]), np.array([4.0, 4.0]), np.array(["", "far"]))


def test_only_rows_with_a_note_are_widened():
    found = widened(forecast(), np.array(["a stands in for b", ""]), 1.0)
    np.testing.assert_array_equal(found.value, [2.0, 2.0])
    assert found.low[0] == pytest.approx(2.0 * np.exp(-np.hypot(np.log(2.0), 1.0)))
    assert found.high[0] == pytest.approx(2.0 * np.exp(np.hypot(np.log(2.0), 1.0)))
    assert (found.low[1], found.high[1]) == (1.0, 4.0)
    assert found.outside.tolist() == ["a stands in for b", "far"]


def test_without_notes_nothing_changes():
    plain = forecast()
    assert widened(plain, np.array(["", ""]), 1.0) is plain


def test_notes_are_said_together():
    assert joined(np.array(["a", ""]), np.array(["b", "c"]), np.array(["", ""])).tolist() == ["a; b", "c"]
