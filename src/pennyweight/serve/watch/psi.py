"""Population stability index: how far the shares of bins have moved, and whether that is more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SMALL, LARGE = 0.1, 0.25  # the usual reading: below the first nothing moved, above the second much did
_SMOOTH = 0.5  # of a value in each bin, so that an empty one is not infinitely far


def edges(reference: NDArray[Any], bins: int = 10) -> Numbers:
    """Inner edges of bins with equally many of the reference's values (M,); fewer bins where values are tied.

    A value of its own bin for each where there are few different ones, as of classes.
    """
    values = np.unique(np.asarray(reference, dtype=np.float64))
    if len(values) <= bins:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(np.asarray(reference, dtype=np.float64), np.arange(1, bins) / bins))


def counts(values: NDArray[Any], inner: NDArray[Any]) -> NDArray[np.int64]:
    """How many of the values (N,) lie in each bin (bins,)."""
    return np.bincount(np.searchsorted(inner, np.asarray(values, dtype=np.float64), "left"), minlength=len(inner) + 1)


def psi(reference: NDArray[Any], window: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """The index of counts (…, bins) beside reference counts (…, bins), and the p-value of "nothing moved".

    Σ (p - q) log(p / q). Without drift it is about (1/M + 1/N) times a chi-squared of bins - 1 degrees of freedom
    (Yurdakul & Naranjo 2020); the p-value is that of Pearson's statistic of both samples, which keeps its level in
    small ones, where the index's logarithms do not.
    """
    from scipy.special import chdtrc

    a, b = np.asarray(reference, dtype=np.float64), np.asarray(window, dtype=np.float64)
    p = (a + _SMOOTH) / (a + _SMOOTH).sum(axis=-1, keepdims=True)
    q = (b + _SMOOTH) / (b + _SMOOTH).sum(axis=-1, keepdims=True)
    index = ((p - q) * np.log(p / q)).sum(axis=-1)
    m, n = a.sum(axis=-1, keepdims=True), b.sum(axis=-1, keepdims=True)
    both = a + b
    off = np.where(both > 0, (a * n - b * m) ** 2 / (np.maximum(both, 1) * m * n), 0.0)
    freedom = np.maximum((both > 0).sum(axis=-1) - 1, 1)
    return index, chdtrc(freedom, off.sum(axis=-1))
