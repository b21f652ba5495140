"""Forecasts of rows whose model or device is not known but stood in for: the same, less sure, and saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.tables.table import Forecast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Texts = NDArray[np.str_]
    Floats = NDArray[np.float64]


def widened(forecast: Forecast, notes: Texts, off: Floats | float) -> Forecast:
    """The forecast (n,) with wider intervals where there is a note (n,) on what stands in.

    `off` is how far off such rows may be beside all else: half of a 90% interval, of logarithms, added in squares.
    """
    told = np.char.str_len(notes) > 0
    if not told.any():
        return forecast
    more = np.where(told, off, 0.0)
    with np.errstate(all="ignore"):
        below, above = np.log(forecast.value / forecast.low), np.log(forecast.high / forecast.value)
        low = np.where(told, forecast.value * np.exp(-np.hypot(below, more)), forecast.low)
        high = np.where(told, forecast.value * np.exp(np.hypot(above, more)), forecast.high)
    return Forecast(forecast.value, low, high, joined(notes, forecast.outside))


def joined(*notes: Texts) -> Texts:
    """What several notes (n,) say together."""
    columns = (each.tolist() for each in notes)
    return np.array(["; ".join(filter(None, each)) for each in zip(*columns, strict=True)], dtype=np.str_)
