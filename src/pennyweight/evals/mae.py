"""The mean absolute error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.evals.metric import Measured, Metric
from pennyweight.evals.values import values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Mae(Metric):
    """In the unit of the values."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean."""
        error = self.losses(y, p)
        return Measured(float(error.mean()), error - error.mean())

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The absolute error of each example."""
        truth, answer = values(y, p)
        return np.abs(answer - truth)
