"""Of what is of a class, the share answered so: mean over classes."""

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
class Recall(Metric):
    """Macro recall; a class that was answered but does not occur counts as zero."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over the classes that occur in `y` or among the answers."""
        table = confusion(y, p)
        value = divide(table.hit, table.true)
        slope = divide(np.ones_like(value), table.true)
        return macro(table, Ratio(value, slope, -value * slope, np.zeros_like(value)), table.true + table.said > 0)
