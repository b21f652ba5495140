"""What the steps to come will take: seconds and dollars, with intervals, from what the steps so far took."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

_KEPT = 256
_90 = 1.645
_FEW = 3
_DOUBT = 0.3  # the standard deviation of a pace that is hardly known, as a share of it
_MARGIN = 1.25  # on the dearest step seen, for the next one


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is not known yet: its mean, and what it lies between with a chance of 90%."""

    mean: float
    low: float
    high: float


@final
class Pacer:
    """What a step takes, in any one unit (seconds, dollars), learned from what the steps so far took together.

    Steps vary on their own, and the pace as a whole drifts (a machine slows down, others come and go): both are in the
    intervals. The drift is seen in how much means over stretches differ by more than their steps explain.
    """

    def __init__(self) -> None:
        self._each: deque[float] = deque(maxlen=_KEPT)
        self._at = (0.0, 0.0)

    def add(self, step: float, spent: float) -> None:
        """Say that `spent` in all was spent after `step` steps; what was spent beside the steps is left out of it."""
        before, paid = self._at
        if step > before:
            self._each.append(max(0.0, spent - paid) / (step - before))
            self._at = (step, spent)

    def aside(self, spent: float) -> None:
        """Say that so much was spent on something else than steps since the last one."""
        self._at = (self._at[0], self._at[1] + spent)

    @property
    def known(self) -> bool:
        """Whether any step was seen."""
        return bool(self._each)

    def ahead(self, steps: float) -> Range:
        """What the next `steps` steps will take together; not a number before any was seen."""
        if not self._each:
            return Range(math.nan, math.nan, math.nan)
        each = np.array(self._each)
        pace, sd, drift = float(each.mean()), float(each.std()), self._drift(each)
        off = _90 * math.hypot(sd * math.sqrt(steps), drift * steps)
        return Range(pace * steps, max(0.0, pace * steps - off), pace * steps + off)

    def next_high(self) -> float:
        """What the next step will hardly exceed."""
        if not self._each:
            return 0.0
        each = np.array(self._each)
        return _MARGIN * float(max(each[-32:].max(), each.mean() + 3 * each.std()))

    def _drift(self, each: np.ndarray) -> float:
        """The standard deviation of the pace as a whole."""
        pace = float(each.mean())
        if len(each) < 2 * _FEW:
            return _DOUBT * pace
        parts = np.array_split(each, min(16, len(each) // _FEW))
        means = np.array([part.mean() for part in parts])
        chance = float(np.mean([part.var(ddof=1) / len(part) for part in parts]))
        return math.sqrt(
            max(0.0, float(means.var(ddof=1)) - chance) + (0.02 * pace) ** 2 + float(each.var()) / len(each)
        )
