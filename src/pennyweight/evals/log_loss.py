"""The mean negative log-likelihood of the true class or token, in nats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.evals.likelihood import log_loss, mean_loss
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class LogLoss(Metric):
    """Cross-entropy per answer; per token for sequences."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over all answers."""
        return mean_loss(y, p)

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The loss of each example, for sequences the mean over its tokens."""
        loss, size = log_loss(y, p)
        return loss / size
