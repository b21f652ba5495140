"""The root of the mean squared error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.evals.metric import Measured, Metric
from pennyweight.evals.values import values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Rmse(Metric):
    """In the unit of the values; large errors weigh more."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The root of the mean, by the delta method; errors that are all zero have no influence."""
        square = self.losses(y, p)
        value = math.sqrt(square.mean())
        return Measured(value, (square - square.mean()) / (2 * value) if value else np.zeros(len(square)))

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The squared error of each example."""
        truth, answer = values(y, p)
        return (answer - truth) ** 2
