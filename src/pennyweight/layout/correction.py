"""What a few measured rows of one's own say about every later prediction: an offset, sometimes a slope, and how sure.

Per target, with r_i = log(measured / predicted) of n rows and h_i half the width, in logarithms, of their 90% intervals
as shipped, h the geometric mean of the h_i and q_i = h_i / h, it is assumed that

    r_i = b + e_i,    b ~ N(0, τ²),    e_i ~ N(0, q_i² s²),    (h / 1.645)² = τ0² + s0²,    τ0² = (h / 1.645)² / 5

that is: a fifth of the shipped uncertainty is an offset b that all rows of one cluster share, the rest differs from row
to row. With weights w_i = 1 / q_i², W = Σ w_i and the weighted mean r̄ (Gelman et al., Bayesian Data Analysis, sections
2.5 and 3.3: a normal mean, and a scaled inverse χ² of ν0 = 4 for the variance):

    excess = max(0, r̄² - 1.645² (τ0² + s0²/W))             how far the offset is beyond the 90% that were expected
    τ²     = τ0² + excess                                   a prior that is contradicted gives way
    s²     = (ν0 s0² + Σ w_i (r_i - r̄)² + excess / n²) / ν,   ν = ν0 + n - 1
    V      = 1 / (1/τ² + W/s²),    b = V (W/s²) r̄

and a new row of difficulty q is predicted by exp(b) times what is shipped, within exp(± t(0.95, ν) √(q² s² + V)). The
share of a fifth and ν0 were chosen on whole models, cases and systems held out of every published table. The excess is
also put into s², but less the more rows agree on it: one row far off may be odd itself.

Of four rows and more, those further than four robust deviations from the median are misfits and left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.tables.table import Forecast

    Floats = NDArray[np.float64]

_NORMAL90 = 1.6448536269514722  # a normal variable is within so many deviations nine times in ten
_SHARED = 1 / 5  # of the shipped variance: an offset
_PRIOR_ROWS = 4.0
_MISFIT = 4.0  # robust deviations
_MAD = 1.4826  # median absolute deviation to standard deviation
_LEAST = 1e-4  # half the width of an interval that claims to know everything
_SLOPE_ROWS = 8
_GAIN = 0.8  # a slope must leave at most so much of the squared error of rows left out
_PASSES = 30
_FIELDS = ("offset", "slope", "center", "reach", "deviation", "doubt", "freedom", "usual", "rows", "misfits")


@dataclass(frozen=True, slots=True)
class Correction:
    """How predictions of one target are to be moved, in logarithms.

    `offset` is added, and `slope` for each unit that log(predicted) is above `center`, up to `reach` either way, which
    is the range of those measured. `deviation` is that of single rows around it (s), `doubt` that of the offset (√V),
    `freedom` the degrees of freedom (ν), `usual` the shipped half-width of such rows (h). It was learned from `rows`
    rows; `misfits` more were left out.
    """

    offset: float
    slope: float
    center: float
    reach: float
    deviation: float
    doubt: float
    freedom: float
    usual: float
    rows: int
    misfits: int

    @property
    def factor(self) -> float:
        """What measured rows are of predicted ones, at the size they were measured at."""
        return math.exp(self.offset)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 90% interval of a row as hard as those measured, as multiples of its prediction."""
        half = float(self.width(np.ones(1))[0])
        return math.exp(-half), math.exp(half)

    def width(self, hard: Floats) -> Floats:
        """Half the width (n,), in logarithms, of the 90% interval of rows so many times as hard as those measured."""
        from scipy.special import stdtrit

        found: Floats = stdtrit(self.freedom, 0.95) * np.hypot(hard * self.deviation, self.doubt)
        return found

    def moves(self, value: Floats) -> Floats:
        """What is to be added (n,) to the logarithms of predictions (n,)."""
        beyond = np.clip(np.log(value) - self.center, -self.reach, self.reach)
        found: Floats = self.offset + self.slope * beyond
        return found

    def to_dict(self) -> dict[str, float | int]:
        """A JSON- and TOML-compatible copy, of six digits."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return {name: each if isinstance(each, int) else float(f"{each:.6g}") for name, each in values.items()}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote; anything else is refused."""
        unknown = sorted(set(body) - set(_FIELDS))
        try:
            found = cls(**{name: _number(body[name], whole=name in {"rows", "misfits"}) for name in _FIELDS})
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"A correction has no good {error}.", "calibrate again.") from error
        if unknown:
            raise BadInputError(f"A correction has no {unknown[0]}.", f"it has: {', '.join(_FIELDS)}.")
        if min(found.deviation, found.freedom, found.usual) <= 0 or min(found.doubt, found.reach, found.rows) < 0:
            raise BadInputError("A correction has a width that is not above zero.", "calibrate again.")
        return found


def learn(measured: Floats, forecast: Forecast) -> tuple[Correction, NDArray[np.int64]]:
    """A correction from what was measured (n,) and predicted, and which rows are misfits; rows without either are none.

    Raises `BadInputError` where no row has both.
    """
    at = np.flatnonzero(known_rows(measured, forecast))
    if not len(at):
        raise BadInputError("No row has both a measurement and a prediction.", "give complete measured rows.")
    value, half = forecast.value[at], half_of(forecast)[at]
    error, size = np.log(measured[at] / value), np.log(value)
    center, reach = float(size.mean()), float(np.ptp(size))
    fits = _fitting(error, half)
    slope = _slope(size[fits], error[fits], half[fits])
    bent = error - slope * (size - center)
    if slope:
        fits = _fitting(bent, half)
    found = _posterior(bent[fits], half[fits], int(slope != 0))
    rows, misfits = int(fits.sum()), at[~fits]
    return Correction(slope=slope, center=center, reach=reach, rows=rows, misfits=len(misfits), **found), misfits


def apply(forecast: Forecast, correction: Correction) -> Forecast:
    """The forecast moved by a correction; its interval is as wide as measured rows say, wider for harder rows."""
    with np.errstate(all="ignore"):
        value = forecast.value * np.exp(correction.moves(forecast.value))
        half = np.exp(correction.width(half_of(forecast) / correction.usual))
        return replace(forecast, value=value, low=value / half, high=value * half)


def half_of(forecast: Forecast) -> Floats:
    """Half the width (n,), in logarithms, of the intervals."""
    found: Floats = np.maximum(np.log(forecast.high / forecast.low) / 2, _LEAST)
    return found


def known_rows(measured: Floats, forecast: Forecast) -> NDArray[np.bool_]:
    """The rows (n,) that have a measurement and a prediction, both above zero."""
    found: NDArray[np.bool_] = (
        np.isfinite(measured) & (measured > 0) & np.isfinite(forecast.value) & (forecast.value > 0)
    )
    return found


def _posterior(error: Floats, half: Floats, slopes: int) -> dict[str, float]:
    """Offset, its doubt and the deviation of rows, as in this module's formulas."""
    usual = float(np.exp(np.log(half).mean()))
    weight, whole = (usual / half) ** 2, (usual / _NORMAL90) ** 2
    shared, single, total = _SHARED * whole, (1 - _SHARED) * whole, float(weight.sum())
    mean = float(weight @ error) / total
    excess = max(0.0, mean**2 - _NORMAL90**2 * (shared + single / total))
    freedom = _PRIOR_ROWS + len(error) - 1 - slopes
    scatter = float(weight @ (error - mean) ** 2) + excess / len(error) ** 2
    variance = (_PRIOR_ROWS * single + scatter) / freedom
    doubt = 1 / (1 / (shared + excess) + total / variance)
    return {
        "offset": doubt * total / variance * mean,
        "deviation": math.sqrt(variance),
        "doubt": math.sqrt(doubt),
        "freedom": freedom,
        "usual": usual,
    }


def _fitting(error: Floats, half: Floats) -> NDArray[np.bool_]:
    """The rows (n,) that are no misfits."""
    if len(error) < 4:
        return np.ones(len(error), dtype=np.bool_)
    off = np.abs(error - np.median(error)) / half
    # Rows that agree by chance make no row a misfit that is within what was shipped as possible.
    least = 0.5 * math.sqrt(1 - _SHARED) / _NORMAL90
    return off <= _MISFIT * max(_MAD * float(np.median(off)), least)


def _slope(size: Floats, error: Floats, half: Floats) -> float:
    """How errors grow with the size (n,) of what is predicted; 0 unless rows left out are clearly better for it."""
    if len(error) < _SLOPE_ROWS or float(np.ptp(size)) < 1e-6:
        return 0.0
    weight, others = half**-2.0, ~np.eye(len(error), dtype=np.bool_)
    bent = [_line(size[rest], error[rest], size[at : at + 1]) for at, rest in enumerate(others)]
    plain = [np.average(error[rest], weights=weight[rest]) for rest in others]
    left, before = (float(weight @ (error - np.array(each)) ** 2) for each in (bent, plain))
    if left > _GAIN * before:
        return 0.0
    ends = np.array([size.min(), size.max()])
    low, high = (_line(size, error, ends[at : at + 1]) for at in (0, 1))
    return (high - low) / float(ends[1] - ends[0])


def _line(size: Floats, error: Floats, asked: Floats) -> float:
    """What an online linear unit that saw the rows several times answers at one place."""
    from pennyweight.cost.learn.adaline import Adaline

    unit, rows = Adaline(rate=0.3, decay=0.02), size[:, None]
    for _ in range(_PASSES):
        unit.partial_fit(rows, error)
    return float(unit.predict(asked[:, None])[0])


def _number(value: object, *, whole: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise ValueError(f"number: {value!r}")
    return value if whole else float(value)
