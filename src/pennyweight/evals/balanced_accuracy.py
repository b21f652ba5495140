"""The share of right answers of each class, mean over the classes that occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.evals.confusion import Ratio, confusion, divide, macro
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class BalancedAccuracy(Metric):
    """Accuracy in which every class weighs the same, however rare."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over the classes that occur in `y`."""
        table = confusion(y, p)
        value = divide(table.hit, table.true)
        slope = divide(np.ones_like(value), table.true)
        return macro(table, Ratio(value, slope, -value * slope, np.zeros_like(value)), table.true > 0)

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """Wrong answers, weighted so that every class weighs the same."""
        table = confusion(y, p)
        weight = divide(np.ones_like(table.true), table.true) / (table.true > 0).sum()
        return np.where(table.truth != table.answer, weight[table.truth], 0.0)
