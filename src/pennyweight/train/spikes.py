"""Loss spikes: a loss far above what the last steps' losses scatter around."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import final

_WINDOW = 64
_LEAST = 12
_MAD = 1.4826  # from the median absolute deviation to a standard deviation, for Gaussian scatter
_FLOOR = 0.05  # of the median: the least scatter a loss is taken to have


@final
class Spikes:
    """Tells for every loss by how many standard deviations of the last 64 it is above their median.

    Median and median absolute deviation, which spikes themselves hardly move. What is no finite number is infinitely
    far above; until twelve losses were seen nothing is.
    """

    def __init__(self, limit: float = 8.0) -> None:
        self.limit = limit
        self._last: deque[float] = deque(maxlen=_WINDOW)

    def height(self, loss: float) -> float:
        """How far above the others this loss is; it is remembered."""
        if not math.isfinite(loss):
            return math.inf
        height = 0.0
        if len(self._last) >= _LEAST:
            middle = median(self._last)
            scatter = _MAD * median(abs(each - middle) for each in self._last)
            height = (loss - middle) / max(scatter, _FLOOR * abs(middle), 1e-12)
        self._last.append(loss)
        return height

    def is_spike(self, loss: float) -> bool:
        """Whether this loss is a spike; it is remembered."""
        return self.height(loss) > self.limit
