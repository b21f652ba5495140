"""Recall pooled over classes: with one label per example, the share of right answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.evals.confusion import micro, wrong
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class RecallMicro(Metric):
    """Recall of all classes counted together."""

    counts_right: ClassVar[bool] = True

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The share of right answers."""
        return micro(y, p)

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """One for a wrong answer, zero for a right one."""
        return wrong(y, p)
