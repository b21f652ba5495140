"""The cheapest ways to train a model: every offer, number of devices and layout, on demand and spare, under limits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.offers import offers
from pennyweight.errors import BadInputError
from pennyweight.layout.plans.bounding import Search
from pennyweight.layout.plans.estimating import detail
from pennyweight.layout.plans.lots import Lot
from pennyweight.layout.plans.misses import misses
from pennyweight.layout.plans.renting import Rented, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.core.layout import Layout
    from pennyweight.layout.plans.estimating import Estimate
    from pennyweight.layout.plans.training import TrainWork

MOST_DEVICES = 32768


@dataclass(frozen=True, slots=True)
class Limits:
    """The most seconds, dollars and devices that a run may take."""

    deadline_s: float = math.inf
    budget_usd: float = math.inf
    most_devices: int = MOST_DEVICES

    def __post_init__(self) -> None:
        told = {
            f"in {self.deadline_s:g} s": self.deadline_s,
            f"for {self.budget_usd:g} dollars": self.budget_usd,
            f"on {self.most_devices} devices": self.most_devices,
        }
        wrong = next((words for words, most in told.items() if not most > 0), None)
        if wrong:
            raise BadInputError(f"Nothing can be trained {wrong}.", "give limits above zero, or leave them out.")


@dataclass(frozen=True, slots=True)
class Planned:
    """One way to do the work: which machines, which layout, and what is expected of it."""

    rented: Rented
    layout: Layout
    step_s: float
    seconds: float
    usd: float

    @property
    def accelerator(self) -> str:
        """The name of the devices; a plan is always of an offer."""
        return self.rented.offer.accelerator if self.rented.offer else ""


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """The front of dollars against seconds within the limits, the cheapest first.

    Where it is empty, `why` says so in sentences: how nearly each limit was missed. `configurations` layouts × offers
    were decided on, most of them by a bound: `timed` layouts were timed.
    """

    work: TrainWork
    terms: Terms
    limits: Limits
    front: tuple[Planned, ...]
    why: tuple[str, ...]
    configurations: int
    timed: int

    @property
    def cheapest(self) -> Planned | None:
        """The one of fewest dollars; None where nothing is within the limits."""
        return self.front[0] if self.front else None

    @property
    def fastest(self) -> Planned | None:
        """The one of fewest seconds; None where nothing is within the limits."""
        return self.front[-1] if self.front else None

    def shown(self, most: int) -> tuple[Planned, ...]:
        """At most so many of the front: the cheapest, the fastest, and others at even steps of time between."""
        if len(self.front) <= most:
            return self.front
        logs = np.log([each.seconds for each in self.front])
        wanted = np.linspace(logs[0], logs[-1], most)
        chosen = sorted({int(np.abs(logs - each).argmin()) for each in wanted})
        return tuple(self.front[at] for at in chosen)

    def estimate(self, planned: Planned) -> Estimate:
        """All figures of one of them, each with its interval."""
        return detail(self.work, planned.rented, planned.layout, accelerator(planned.accelerator), self.terms)


def plan_train(
    work: TrainWork,
    limits: Limits | None = None,
    on: Sequence[str] = (),
    spare: bool | None = None,  # ruff: ignore[boolean-type-hint-positional-argument] - three values: yes, no, both
    terms: Terms | None = None,
) -> TrainPlan:
    """Plan `work` on every offer of the accelerators `on` (none: of all), on demand, `spare`, or both.

    `terms` say on whose machines and with which software; its own `spare` is not used. Layouts that may not fit are
    not taken. Raises `BadInputError` where nobody sells what is asked for.
    """
    bounds, asked = limits or Limits(), terms or Terms()
    search = Search(work, asked, _lots(on, (False, True) if spare is None else (spare,), asked), bounds.most_devices)
    front = search.front(bounds.deadline_s, bounds.budget_usd)
    why: tuple[str, ...] = ()
    if not len(front.usd):
        free = search.front(math.inf, math.inf)
        why = misses(work, (bounds.deadline_s, bounds.budget_usd, bounds.most_devices), free, search.tried())
    planned = tuple(Planned(*search.planned(front, at)) for at in range(len(front.usd)))
    return TrainPlan(work, asked, bounds, planned, why, search.configurations, search.timed)


def _lots(on: Sequence[str], modes: Sequence[bool], terms: Terms) -> list[Lot]:
    names: list[str | None] = [accelerator(name).name for name in on] or [None]
    sold = [each for name in names for each in offers(name, cloud=terms.cloud, region=terms.region)]
    lots = [lot for mode in modes for lot in Lot.all_of(sold, spare=mode)]
    if not lots:
        what = ", ".join(on) or "accelerators"
        raise BadInputError(f"Nobody on the price list rents {what} so.", "see who rents what: pennyweight prices.")
    return lots
