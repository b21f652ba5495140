"""What neighbours say: the error that is left, interpolated between measured runs, with its own uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NOISE = 0.05  # standard deviation of the logarithm of one measurement
# The layers of error: their standard deviation, how far they reach, and whether other groups share them.
_LAYERS = ((0.3, 0.7, True), (0.25, 3.0, False), (0.15, 0.4, False))
_VARIANCES = np.array([sd**2 for sd, _, _ in _LAYERS])
_SHARED = np.array([shared for _, _, shared in _LAYERS])
_NARROW = np.array([-0.5 / reach**2 for _, reach, _ in _LAYERS])
PRIOR_SD = math.sqrt(_VARIANCES.sum())


@dataclass(frozen=True, slots=True)
class Local:
    """A Gaussian process over logarithms of measured / predicted (Rasmussen & Williams 2006, algorithm 2.1).

    Its covariance has three layers: what close relatives share in every runtime (an awkward shape is awkward
    everywhere), what a runtime and precision shares far and wide, and what close relatives share in it. Far from all
    samples it says "no correction" and the prior's standard deviation. `places` are (n, d), one row per sample;
    `heights` has for each group the layers' variances (n, 3) as they bear on a place of that group, and under the empty
    name as they bear on any other.
    """

    places: NDArray[np.float64]
    heights: dict[str, NDArray[np.float64]]
    weights: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(cls, groups: Sequence[str], places: Sequence[tuple[float, ...]], logs: NDArray[np.float64]) -> Local:
        """Condition on the `logs` (n,) of measured / predicted at `places`."""
        points = np.array(places, dtype=np.float64)
        heights = {name: _heights(groups, name) for name in ("", *groups)}
        covariances = [_covariance(points - place, heights[group]) for place, group in zip(points, groups, strict=True)]
        matrix = np.array(covariances) + _NOISE**2 * np.eye(len(points))
        inverse = np.linalg.inv(matrix).astype(np.float64)
        weights: NDArray[np.float64] = inverse @ logs
        return cls(points, heights, weights, inverse)

    def at(self, group: str, place: tuple[float, ...]) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm of measured / predicted at a new place."""
        near = _covariance(self.places - place, self.heights.get(group, self.heights[""]))
        spread = PRIOR_SD**2 - float(near.dot(self.inverse).dot(near))
        return float(near.dot(self.weights)), math.sqrt(max(spread, 0.0) + _NOISE**2)


def _heights(groups: Sequence[str], name: str) -> NDArray[np.float64]:
    return np.array([_VARIANCES if each == name else _VARIANCES * _SHARED for each in groups])


def _covariance(away: NDArray[np.float64], heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariances (n,) of a place with the samples that lie `away` (n, d) from it."""
    squared = np.vecdot(away, away)
    found: NDArray[np.float64] = np.vecdot(np.exp(np.multiply.outer(squared, _NARROW)), heights)
    return found
