"""Two-sample Kolmogorov-Smirnov test, many columns at a time: the largest difference of two distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


def ks(reference: NDArray[Any], window: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """The largest difference of the distribution functions, and its p-value, of columns (M, D) and (N, D): (D,) each.

    The p-value is that of SciPy's asymptotic `ks_2samp`: the exact distribution of one sample of n·m / (n + m) values
    (Simard & L'Ecuyer 2011). With ties it is too large, never too small.
    """
    from scipy.stats import kstwo

    m, n = len(reference), len(window)
    both = np.concatenate([reference, window]).astype(np.float64)
    order = np.argsort(both, axis=0, kind="stable")
    steps = np.where(order < m, 1 / m, -1 / n)
    ordered = np.take_along_axis(both, order, axis=0)
    ends = np.concatenate([ordered[1:] != ordered[:-1], np.ones_like(ordered[:1], dtype=bool)])
    apart = np.where(ends, np.abs(np.cumsum(steps, axis=0)), 0.0).max(axis=0)
    return apart, np.clip(kstwo.sf(apart, max(1, round(m * n / (m + n)))), 0.0, 1.0)
