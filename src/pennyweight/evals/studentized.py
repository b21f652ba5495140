"""Tests of a smooth metric by the influence of each example: Student's t and the bootstrap-t, whichever doubts more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LEAST_UNITS = 30  # fewer independent examples or groups than this say too little about their own spread
RESAMPLES = 2000
_CELLS = 4_000_000  # numbers drawn at a time, to bound memory


def p_value(effect: float, units: NDArray[Any], span: float | None, alpha: float) -> float:
    """The p-value of "the true effect is at most zero", given the influence (G,) of each independent unit on `effect`.

    The larger of two, each valid as G grows: Student's t with G - 1 degrees of freedom, and the bootstrap-t over
    seeded resamples of the influence values, which corrects for skewness (Efron & Tibshirani 1993, chapter 12). Never
    having seen a loss is no proof that there is none, so both count one worst unit more: the most that one can lose
    (`span`), or, if that has no bound, the largest loss seen. Its weight is such that a sample without any loss gets
    the answer of the exact binomial test at `alpha`.
    """
    shift, se, wide = _with_unseen(units, span, alpha)
    if se <= 0:
        return 1 / (RESAMPLES + 1) if effect > 0 else 1.0
    from scipy.stats import t

    student = float(t.sf((effect - shift) / se, len(units) - 1))
    here = effect / _spread(units, wide)
    return max(student, (1 + int((_studentized(units, wide) >= here).sum())) / (RESAMPLES + 1))


def reach(units: NDArray[Any], span: float | None, alpha: float) -> float:
    """What an effect must be larger than for `p_value` to be at most `alpha`; infinite if no effect is enough."""
    beyond = math.floor(alpha * (RESAMPLES + 1) + 1e-9) - 1  # resamples that may be as far as the effect
    shift, se, wide = _with_unseen(units, span, alpha)
    if beyond < 0:
        return math.inf
    if se <= 0:
        return 0.0
    from scipy.stats import t

    student = shift + se * float(t.isf(alpha, len(units) - 1))
    return max(student, _spread(units, wide) * float(np.sort(_studentized(units, wide))[-1 - beyond]))


def _with_unseen(units: NDArray[Any], span: float | None, alpha: float) -> tuple[float, float, float]:
    """With the worst unit more: by how much it moves the mean, the standard error, what it adds to sums of squares."""
    n = enough(len(units))
    worst = max(0.0, -float(units.min())) if span is None else span
    weight = weight_of_unseen(alpha)
    shift = weight * worst / (n + weight)
    variance = (float(units @ units) + weight * worst**2) / (n + weight) - shift**2
    return shift, math.sqrt(max(variance, 0.0) / (n + weight - 1)), weight * worst**2


def enough(n: int) -> int:
    """`n`, if that many independent units allow an asymptotic test; `BadInputError` otherwise."""
    if n < LEAST_UNITS:
        raise BadInputError(
            f"{n} independent examples or groups are too few for this metric's test.",
            f"give at least {LEAST_UNITS}, or put the floor on accuracy, whose test is exact.",
        )
    return n


def weight_of_unseen(alpha: float) -> float:
    """How much a worst unit weighs: k with k + z √k = log(1/alpha), z the normal quantile.

    With no loss in n examples t is (n·margin - k)/√k, and reaches z where (1 - margin)^n ≈ exp(-n·margin) = alpha.
    """
    from scipy.special import ndtri

    z = -float(ndtri(alpha))
    return ((math.sqrt(z * z + 4 * math.log(1 / alpha)) - z) / 2) ** 2


def _spread(units: NDArray[Any], wide: float) -> float:
    """The standard error of the mean of `units`; `wide` adds to the sum of squares."""
    n, mean = len(units), float(units.mean())
    return math.sqrt((float(units @ units) - n * mean**2 + wide) / (n * (n - 1)))


def _studentized(units: NDArray[Any], wide: float) -> NDArray[np.float64]:
    """By how many of its standard errors the mean of each resample is off; infinite for one without any spread."""
    n, mean = len(units), float(units.mean())
    found = []
    for total, squares in _resamples(units):
        variance = np.maximum(squares - total**2 / n + wide, 0) / (n * (n - 1))
        flat = variance <= 0
        found.append(np.where(flat, np.inf, (total / n - mean) / np.sqrt(np.where(flat, 1.0, variance))))
    return np.concatenate(found)


def _resamples(units: NDArray[Any]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Sums and sums of squares of resamples of `units`, as many as `RESAMPLES` in all, some at a time."""
    generator = np.random.default_rng(0)
    n = len(units)
    distinct, counts = np.unique(units, return_counts=True)
    if len(distinct) <= n // 8:  # drawing how often each value occurs is cheaper than drawing examples
        drawn = generator.multinomial(n, counts / n, size=RESAMPLES)
        yield drawn @ distinct, drawn @ distinct**2
        return
    step = max(1, _CELLS // n)
    for first in range(0, RESAMPLES, step):
        sample = units[generator.integers(n, size=(min(step, RESAMPLES - first), n))]
        yield sample.sum(axis=1), np.einsum("bn,bn->b", sample, sample)
