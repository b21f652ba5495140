"""What the runs so far say about the quality each setting costs, and how likely an untried point keeps the floor."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Point = tuple[int, ...]

_MEAN = 1.2  # a lever's settings are taken to reach this share of the slack, evenly, before anything is known
_OWN, _SHARED = 1.2, 1.0  # standard deviations of a step's cost in shares of its mean: by itself, and with its lever
_INTERPLAY = 0.25  # of the slack: how far a plan may be from the sum of what its settings cost alone
_WORST = 10  # of the slack: a collapse says no more than this, or all levers of its plan would be blamed for ever
_NORMAL = NormalDist()


class Beliefs:
    """A Bayesian linear model: what a point costs in quality is the sum over its levers' steps, plus some interplay.

    Every step from one setting of a lever to the next has a cost (normal prior, conjugate update: Bishop 2006, 3.3)
    that is its own in part and in part its lever's, so one setting also tells of the others of the same lever. `slack`
    is the quality that may be lost, `noise` the standard error of the control's score.
    """

    def __init__(self, sizes: Sequence[int], slack: float, noise: float) -> None:
        self._slack = slack
        self._scale = max(slack, noise, 1e-9)
        self._starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self._mean = np.zeros(sum(sizes))
        self._spread = np.zeros((sum(sizes), sum(sizes)))
        for start, size in zip(self._starts, sizes, strict=True):
            step, block = _MEAN * self._scale / (size + 1), slice(start, start + size)
            self._mean[block] = step
            self._spread[block, block] = step**2 * (_OWN**2 * np.eye(size) + _SHARED**2)
        self._precision = np.linalg.inv(self._spread)
        self._weighted = self._precision @ self._mean

    def learn(self, point: Point, fall: float, noise: float) -> None:
        """Note that a point lost `fall` of quality against the control, give or take the standard error `noise`."""
        most = _WORST * self._scale
        fall = most if math.isnan(fall) else min(max(fall, -most), most)
        row = self._steps(point)
        weight = 1 / (noise**2 + (_INTERPLAY * self._scale) ** 2)
        self._precision += weight * np.outer(row, row)
        self._weighted += weight * fall * row
        self._spread = np.linalg.inv(self._precision)
        self._mean = self._spread @ self._weighted

    def chance(self, point: Point) -> float:
        """How likely a point loses no more than the slack."""
        row = self._steps(point)
        if not row.any():
            return 1.0
        spread = math.sqrt(float(row @ self._spread @ row) + (_INTERPLAY * self._scale) ** 2)
        return _NORMAL.cdf((self._slack - float(row @ self._mean)) / spread)

    def _steps(self, point: Point) -> NDArray[np.float64]:
        """Ones for the steps that lead to a point."""
        row = np.zeros(len(self._mean))
        for start, at in zip(self._starts, point, strict=True):
            row[start : start + at] = 1
        return row
