"""The share of the variance that is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError
from pennyweight.evals.metric import Measured, Metric
from pennyweight.evals.values import values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class R2(Metric):
    """One minus squared error over variance; below zero if a constant would do better."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The ratio, by the delta method; `y` that is constant is refused."""
        truth, _ = values(y, p)
        square, spread = self.losses(y, p), (truth - truth.mean()) ** 2
        if not spread.any():
            raise BadInputError("y is the same everywhere: there is no variance to explain.", "use rmse or mae.")
        unexplained = square.mean() / spread.mean()
        return Measured(float(1 - unexplained), (unexplained * spread - square) / spread.mean())

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The squared error of each example."""
        truth, answer = values(y, p)
        return (answer - truth) ** 2
