"""How many times its prior each part really takes: non-negative least squares in relative error, drawn to the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.cost.learn.sample import Sample

_NOISE = 0.2  # relative, of what no factor can explain
_DOUBT = 0.3  # relative, of a factor before anything was measured


def solve(samples: Sequence[Sample], prior: tuple[float, ...]) -> tuple[float, ...]:
    """Find the factors θ ≥ 0 on the parts that explain the samples best and differ least from the prior.

    They minimise, over the samples and the parts that occur in them,
    ``Σ ((parts · θ / measured - 1) / 0.2)² + Σ ((θ - prior) / (0.3 · (prior + 0.1)))²``.

    Factors of parts that occur in no sample stay at the prior.
    """
    from scipy.optimize import nnls

    rows: NDArray[np.float64] = np.array([sample.parts for sample in samples])
    measured = np.array([sample.measured for sample in samples])
    occurs = np.flatnonzero(rows.any(axis=0))
    theta = np.array(prior)
    start = theta[occurs]
    doubt = _DOUBT * (start + 0.1)
    matrix = np.vstack([rows[:, occurs] / measured[:, None] / _NOISE, np.diag(1 / doubt)])
    target = np.concatenate([np.full(len(samples), 1 / _NOISE), start / doubt])
    theta[occurs], _ = nnls(matrix, target)
    return tuple(theta.tolist())
