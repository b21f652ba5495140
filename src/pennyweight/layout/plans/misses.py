"""Why nothing is within the limits, and by how little the nearest way to do the work missed them."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pennyweight.units import money, seconds, si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.plans.lots import Lot, Points
    from pennyweight.layout.plans.searching import Best
    from pennyweight.layout.plans.training import TrainWork

    Floats = NDArray[np.float64]


def misses(
    work: TrainWork, limits: tuple[float, float, int], free: Points, tried: Sequence[tuple[Lot, Best]]
) -> tuple[str, ...]:
    """Sentences on a plan that found nothing within seconds, dollars and devices; `free` is the front without these.

    For each limit that was given: the way that keeps it and misses the other least, or misses it least itself.
    """
    deadline_s, budget_usd, most = limits
    if not len(free.usd):
        return _too_large(work, most, tried)
    time = _Limit(
        free.seconds, deadline_s, seconds, "Within {} it costs {} at least", "The fastest way of all takes {} for {}"
    )
    usd = _Limit(
        free.usd, budget_usd, money, "For {} it takes {} at least", "The cheapest way of all costs {} and takes {}"
    )
    named = (_nearest(time, usd), _nearest(usd, time))
    return tuple(
        f"{text}, on {_machines(free, at, tried)}: {more} more than given." for text, at, more in filter(None, named)
    )


class _Limit(NamedTuple):
    """What ways take of something (n,), the most that was given, how it is written, and what to say of it."""

    taken: Floats
    most: float
    written: Callable[[float], str]
    kept: str
    least: str


def _nearest(limit: _Limit, other: _Limit) -> tuple[str, int, str] | None:
    """Of ways within a limit the least of the other, or the least of all: what to say, its place, how much too much."""
    if not np.isfinite(limit.most):
        return None
    within = limit.taken <= limit.most
    if within.any():
        at = int(np.where(within, other.taken, np.inf).argmin())
        took = float(other.taken[at])
        return limit.kept.format(limit.written(limit.most), other.written(took)), at, other.written(took - other.most)
    at = int(limit.taken.argmin())
    took = float(limit.taken[at])
    said = limit.least.format(limit.written(took), other.written(float(other.taken[at])))
    return said, at, limit.written(took - limit.most)


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
