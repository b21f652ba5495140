"""Calibration by one number: all log-probabilities are divided by it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_LEAST = 1e-12  # a probability of nothing has no logarithm


@final
@dataclass(frozen=True, slots=True)
class Temperature:
    """Probabilities to the power of 1 / `degrees`, made to add up to one again; above 1 a model was too sure."""

    degrees: float

    @classmethod
    def fit(cls, probabilities: NDArray[Any], labels: NDArray[Any]) -> Self:
        """The temperature of the least log loss (Guo et al. 2017), from answers (N, C) and true classes (N,)."""
        from scipy.optimize import minimize_scalar

        logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST))
        true = np.take_along_axis(logs, np.asarray(labels, dtype=np.int64)[:, None], axis=1)[:, 0]

        def loss(log_degrees: float) -> float:
            cold = math.exp(-log_degrees)
            return float(np.mean(np.logaddexp.reduce(cold * logs, axis=1) - cold * true))

        return cls(math.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))

    def chance(self, probabilities: NDArray[Any]) -> Numbers:
        """The chance that each answer (N, C) is right: (N,)."""
        logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST)) / self.degrees
        found: Numbers = np.exp(logs.max(axis=1) - np.logaddexp.reduce(logs, axis=1))
        return found
