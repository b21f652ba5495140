"""Calibration by a step function that never falls: how often a model is right when it is so sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Isotonic:
    """The chance `right` (K,) of a right answer at each probability `sure` (K,) of the answer; straight between."""

    sure: Numbers
    right: Numbers

    @classmethod
    def fit(cls, probabilities: NDArray[Any], labels: NDArray[Any]) -> Self:
        """From answers (N, C) and the true classes (N,) of examples that the model was not trained on.

        Least squares among all functions that never fall (Zadrozny & Elkan 2002). No chance is put nearer to 0 or 1
        than one example in N + 2 allows.
        """
        from scipy.optimize import isotonic_regression

        top = np.asarray(probabilities, dtype=np.float64).max(axis=1)
        hit = (np.argmax(probabilities, axis=1) == labels).astype(np.float64)
        sure, where, weight = np.unique(top, return_inverse=True, return_counts=True)
        mean = np.bincount(where, weights=hit) / weight
        fitted = isotonic_regression(mean, weights=weight).x
        edge = 1 / (len(hit) + 2)
        return cls(sure, np.clip(fitted, edge, 1 - edge))

    def chance(self, probabilities: NDArray[Any]) -> Numbers:
        """The chance that each answer (N, C) is right: (N,)."""
        found: Numbers = np.interp(np.max(probabilities, axis=1), self.sure, self.right)
        return found
