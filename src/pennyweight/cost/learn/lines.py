"""Many weighted least-squares fits at once: one straight line per place, each with weights of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows (n, d) with targets (n,), and a ridge on slopes, in rows; what does not change from place to place.

    At a place q with row weights w the coefficients are `β = (Zᵀ W Z + R)⁻¹ Zᵀ W y` with Z = (1, rows) and R the ridge
    on all but the intercept. All m places are solved together: `O(m · n · d² + m · d³)` operations in BLAS and LAPACK.
    """

    design: Floats
    targets: Floats
    products: Floats
    ridge: Floats

    @classmethod
    def of(cls, rows: Floats, targets: Floats, ridge: float) -> Lines:
        """Prepare the products of the design's columns, so that Gram matrices are one matrix product."""
        design = np.column_stack([np.ones(len(rows)), rows])
        width = design.shape[1]
        products = (design[:, :, None] * design[:, None, :]).reshape(len(rows), width * width)
        penalty = ridge * np.eye(width)
        penalty[0, 0] = 0.0
        return cls(design, targets, products, penalty)

    @property
    def cells(self) -> int:
        """Numbers held per place: its weights, and its Gram matrix and coefficients."""
        width: int = self.design.shape[1]
        return 2 * len(self.design) + 3 * width * width

    def at(self, places: Floats, weights: Floats) -> Floats:
        """The answers (m,) of the lines at `places` (m, d) with row weights (m, n)."""
        moments = weights @ (self.design * self.targets[:, None])
        beta = np.linalg.solve(self._gram(weights), moments[:, :, None])[:, :, 0]
        answers: Floats = np.vecdot(_with_one(places), beta)
        return answers

    def smoother(self, places: Floats, weights: Floats) -> Floats:
        """How much each target counts in each answer: the hat matrix (m, n), `answers = smoother @ targets`."""
        pulled = np.linalg.solve(self._gram(weights), _with_one(places)[:, :, None])[:, :, 0]
        found: Floats = (pulled @ self.design.T) * weights
        return found

    def _gram(self, weights: Floats) -> Floats:
        width = self.design.shape[1]
        gram: Floats = (weights @ self.products).reshape(-1, width, width) + self.ridge
        return gram


def _with_one(places: Floats) -> Floats:
    return np.column_stack([np.ones(len(places)), places])
