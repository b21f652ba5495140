"""Why nothing is within the limits, and by how little the nearest way to do the work missed them."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.units import money, seconds, si

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.layout.plans.lots import Lot, Points
    from pennyweight.layout.plans.searching import Best
    from pennyweight.layout.plans.training import TrainWork


def misses(
    work: TrainWork, limits: tuple[float, float, int], free: Points, tried: Sequence[tuple[Lot, Best]]
) -> tuple[str, ...]:
    """Sentences on a plan that found nothing within seconds, dollars and devices; `free` is the front without these."""
    deadline_s, budget_usd, most = limits
    if not len(free.usd):
        return _too_large(work, most, tried)
    return _in_time(free, deadline_s, budget_usd, most), _in_budget(free, budget_usd)


def _in_time(free: Points, deadline_s: float, budget_usd: float, most: int) -> str:
    in_time = free.seconds <= deadline_s
    if in_time.any():
        least = float(free.usd[in_time].min())
        more = money(least - budget_usd)
        return f"Within {seconds(deadline_s)} it costs {money(least)} at least: {more} more than given."
    fastest = float(free.seconds.min())
    more = seconds(fastest - deadline_s)
    return f"On up to {most:,} devices it takes {seconds(fastest)} at least: {more} more than given."


def _in_budget(free: Points, budget_usd: float) -> str:
    in_budget = free.usd <= budget_usd
    if in_budget.any():
        return f"For {money(budget_usd)} it takes {seconds(float(free.seconds[in_budget].min()))} at least."
    at = int(free.usd.argmin())
    return f"The cheapest way of all costs {money(float(free.usd[at]))} and takes {seconds(float(free.seconds[at]))}."


def _too_large(work: TrainWork, most: int, tried: Sequence[tuple[Lot, Best]]) -> tuple[str, ...]:
    """What comes nearest to fitting, of what could be asked."""
    name = work.dims.name
    nearest = [
        (float(best.least_byte[at] / lot.site.device.memory_byte), int(best.devices[at]), lot)
        for lot, best in tried
        for at in [int(np.argmin(best.least_byte))]
        if np.isfinite(best.least_byte[at])
    ]
    if not nearest:
        return (f"{name} has no layout in {work.precision} on anything that is sold, up to {most:,} devices.",)
    share, devices, lot = min(nearest, key=itemgetter(0))
    capacity = lot.site.device.memory_byte
    may, has = si(share * capacity, "B"), si(capacity, "B")
    return (
        f"{name} fits nowhere on up to {most:,} devices.",
        f"The nearest are {devices:,} {lot.site.accelerator}: a device may have to hold {may} and has {has}.",
    )
