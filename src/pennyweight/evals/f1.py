"""The harmonic mean of precision and recall: mean over classes."""

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
class F1(Metric):
    """Macro F1."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over the classes that occur in `y` or among the answers."""
        table = confusion(y, p)
        both = table.true + table.said
        value = divide(2 * table.hit, both)
        slope = divide(np.ones_like(value), both)
        return macro(table, Ratio(value, 2 * slope, -value * slope, -value * slope), both > 0)
