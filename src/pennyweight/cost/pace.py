"""How fast the machine is at this moment, beside how fast it was when it was calibrated: it is shared, and varies."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.race import race

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pennyweight.cost.race import Timing

_STEPS, _ADDS, _PRODUCTS = 4_000, 200, 40
_SIZE = 64  # libraries of linear algebra multiply so little on one thread: others would spin


def yardsticks() -> dict[str, Callable[[], object]]:
    """Calls that never change, a few tenths of a millisecond each: interpreted code, small arrays, matrix products.

    Serving a small model is a mixture of the three, and what slows the machine down slows each of them differently.
    """
    few = np.ones(64, dtype=np.float32)
    matrix = np.random.default_rng(0).random((_SIZE, _SIZE), dtype=np.float32)
    return {"interpreter": _interpret, "arrays": lambda: _add(few), "products": lambda: _multiply(matrix)}


def usual(budget_s: float) -> dict[str, float]:
    """CPU seconds of each yardstick now, to compare with later."""
    return {name: timing.cpu_s for name, timing in race(yardsticks(), budget_s=budget_s).items()}


def pace(found: Mapping[str, Timing], usual_s: Mapping[str, float]) -> float:
    """How many times as long as usual things take: the geometric mean over the yardsticks in both; one without any."""
    logs = [math.log(found[name].cpu_s / usual_s[name]) for name in usual_s if name in found]
    return math.exp(fmean(logs)) if logs else 1.0


def _interpret() -> int:
    total = 0
    for step in range(_STEPS):
        total += step & 3
    return total


def _add(few: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    for _ in range(_ADDS):
        np.add(few, few)


def _multiply(matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    for _ in range(_PRODUCTS):
        np.matmul(matrix, matrix)
