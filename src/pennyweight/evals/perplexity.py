"""The exponential of the mean log loss: among how many equally likely tokens the model seems to choose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.evals.likelihood import log_loss, mean_loss
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Perplexity(Metric):
    """exp(mean log loss per token)."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The exponential of the mean, by the delta method."""
        log = mean_loss(y, p)
        value = math.exp(log.value)
        return Measured(value, value * log.influence)

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The mean log loss of each sequence."""
        loss, size = log_loss(y, p)
        return loss / size
