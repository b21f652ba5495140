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
    """Sentences on a plan that found nothing within seconds, dollars and devices; `free` is the front without these.

    For each limit that was given: the way that keeps it and misses the other least, or misses it least itself.
    """
    deadline_s, budget_usd, most = limits
    if not len(free.usd):
        return _too_large(work, most, tried)
    named = (_in_time(free, deadline_s, budget_usd), _in_budget(free, deadline_s, budget_usd))
    return tuple(text.format(machines=_machines(free, at, tried)) for text, at in filter(None, named))


def _in_time(free: Points, deadline_s: float, budget_usd: float) -> tuple[str, int] | None:
    """The cheapest way within the time, or the fastest of all: what to say of it, and its place."""
    if not np.isfinite(deadline_s):
        return None
    in_time = free.seconds <= deadline_s
    if in_time.any():
        at = int(np.where(in_time, free.usd, np.inf).argmin())
        least = float(free.usd[at])
        said = f"Within {seconds(deadline_s)} it costs {money(least)} at least, on {{machines}}"
        return f"{said}: {money(least - budget_usd)} more than given.", at
    at = int(free.seconds.argmin())
    fastest = float(free.seconds[at])
    said = f"The fastest way of all takes {seconds(fastest)} for {money(float(free.usd[at]))}, on {{machines}}"
    return f"{said}: {seconds(fastest - deadline_s)} more than given.", at


def _in_budget(free: Points, deadline_s: float, budget_usd: float) -> tuple[str, int] | None:
    """The fastest way within the budget, or the cheapest of all: what to say of it, and its place."""
    if not np.isfinite(budget_usd):
        return None
    in_budget = free.usd <= budget_usd
    if in_budget.any():
        at = int(np.where(in_budget, free.seconds, np.inf).argmin())
        fastest = float(free.seconds[at])
        said = f"For {money(budget_usd)} it takes {seconds(fastest)} at least, on {{machines}}"
        return f"{said}: {seconds(fastest - deadline_s)} more than given.", at
    at = int(free.usd.argmin())
    least = float(free.usd[at])
    said = f"The cheapest way of all costs {money(least)} and takes {seconds(float(free.seconds[at]))}, on {{machines}}"
    return f"{said}: {money(least - budget_usd)} more than given.", at


def _machines(free: Points, at: int, tried: Sequence[tuple[Lot, Best]]) -> str:
    lot, best = tried[int(free.lot[at])]
    offer, devices = lot.offers[int(free.offer[at])], int(best.devices[int(free.count[at])])
    return f"{devices:,} {offer.accelerator} of {offer.cloud}{' (spare)' * lot.spare}"


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
