"""Which width each of several layers gets, so that the sum of harms is least and all of it fits: exactly, by tables.

The multiple-choice knapsack problem: of each layer's widths one is taken. best(k, b), the least harm of the first k
layers within b bytes, is the least of best(k - 1, b - bytes) + harm over the widths of layer k. Bytes are counted in
steps that divide all of them, or, where that were too many, in coarser ones, rounded up.
Source: Dudzinski and Walukiewicz 1987, "Exact methods for the knapsack problem and its generalizations".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_STEPS = 1 << 16


def allot(costs: Sequence[Sequence[int]], harms: Sequence[Sequence[float]], budget: int) -> list[int] | None:
    """The number of the width of each layer, by the `costs` (bytes) and `harms` of its widths; None if nothing fits.

    Of choices that do the same harm the one of fewest bytes is taken.
    """
    least = [min(each) for each in costs]
    room = budget - sum(least)
    if room < 0:
        return None
    extra = [[cost - low for cost in each] for each, low in zip(costs, least, strict=True)]
    room = min(room, sum(max(each) for each in extra))
    unit = math.gcd(*(cost for each in extra for cost in each)) or 1
    unit *= max(1, -(-(room // unit) // MOST_STEPS))
    steps = [[-(-cost // unit) for cost in each] for each in extra]
    return _chosen(steps, harms, room // unit)


def _chosen(steps: list[list[int]], harms: Sequence[Sequence[float]], room: int) -> list[int]:
    best = np.zeros(room + 1)
    taken = []
    for sizes, harmed in zip(steps, harms, strict=True):
        tried = np.full((len(sizes), room + 1), np.inf)
        for row, size, harm in zip(tried, sizes, harmed, strict=True):
            if size <= room:
                row[size:] = best[: room + 1 - size] + harm
        taken.append(tried.argmin(axis=0).astype(np.int8))
        best = tried.min(axis=0)
    place = int(best.argmin())  # the first, so the fewest bytes
    found = []
    for sizes, choice in zip(reversed(steps), reversed(taken), strict=True):
        found.append(int(choice[place]))
        place -= sizes[found[-1]]
    return found[::-1]
