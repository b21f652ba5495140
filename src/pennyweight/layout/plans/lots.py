"""Offers that make the same cluster, together: timed once, priced one by one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.plans.renting import rentable
from pennyweight.layout.plans.searching import Field, Site, least_s
from pennyweight.layout.plans.upkeep import machine_interruptions_hour, upkeep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.plans.renting import Terms
    from pennyweight.layout.plans.searching import Best
    from pennyweight.layout.plans.spreading import Choices
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.plans.upkeep import Care

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Lot:
    """Offers of machines with the same devices, links and network, on demand or `spare`."""

    site: Site
    offers: tuple[Offer, ...]
    spare: bool

    @classmethod
    def all_of(cls, offers: Iterable[Offer], *, spare: bool) -> list[Self]:
        """Every offer in its lot; of spare machines only those that are sold."""
        found: dict[tuple[Site, int], list[Offer]] = {}
        for offer in offers:
            if not spare or offer.spot_usd_hour is not None:
                found.setdefault((Site.of(offer), offer.devices), []).append(offer)
        return [cls(site, tuple(mine), spare) for (site, _), mine in found.items()]

    @property
    def machine_devices(self) -> int:
        """Devices of one machine."""
        return self.offers[0].devices

    def counts(self, most: int) -> tuple[int, ...]:
        """Numbers of devices worth asking for: whole machines, as many as powers of two and thrice those."""
        machines = sorted({times * 2**power for power in range(most.bit_length()) for times in (1, 3)})
        each = (self.machine_devices * number for number in machines)
        return tuple(devices for devices in each if devices <= most and rentable(self.offers[0], devices))

    def field(self, work: TrainWork, most: int, choices: Choices) -> Field | None:
        """All layouts there; none where no layout is legal."""
        try:
            return Field.of(work, self.counts(most), self.site.domain, choices)
        except BadInputError:
            return None

    def least_device_s(self, work: TrainWork, terms: Terms) -> float | None:
        """Device-seconds that all steps take at least; None where the devices cannot compute in this precision."""
        try:
            return least_s(work, self.site, terms.stack, terms.calibration) * work.steps
        except BadInputError:
            return None

    @property
    def prices(self) -> Floats:
        """Dollars per hour (o,) of one machine of each offer."""
        return np.array([each.device_hour_usd(spare=self.spare) for each in self.offers]) * self.machine_devices

    def costs(self, work: TrainWork, best: Best, care: Care) -> tuple[Floats, Floats]:
        """Expected seconds and dollars (o, c) of the whole run from each offer on each number of devices."""
        machines = best.devices / self.machine_devices
        hourly = np.zeros(len(self.offers))
        if self.spare:
            hourly = np.array([machine_interruptions_hour(each.interruption, care) for each in self.offers])
        kept = upkeep(work, best.devices.astype(np.float64), hourly[:, None] * machines, care)
        seconds = best.step_s * work.steps * kept.factor
        return seconds, seconds * machines * self.prices[:, None] / _HOUR_S


@dataclass(frozen=True, slots=True)
class Points:
    """Ways to do the work (n,): expected seconds and dollars, from which offer of which lot, on which of its counts."""

    seconds: Floats
    usd: Floats
    lot: Whole
    offer: Whole
    count: Whole

    @classmethod
    def of(cls, seconds: Floats, usd: Floats, lot: int) -> Self:
        """Those of one lot that ever end, from (o, c) each."""
        offer, count = np.nonzero(np.isfinite(usd))
        return cls(seconds[offer, count], usd[offer, count], np.full(len(offer), lot), offer, count)

    @classmethod
    def together(cls, parts: Sequence[Self]) -> Self:
        """One after the other."""
        none, nowhere = np.zeros(0), np.zeros(0, dtype=np.int64)
        every = [cls(none, none, nowhere, nowhere, nowhere), *parts]
        return cls(**{each.name: np.concatenate([getattr(part, each.name) for part in every]) for each in fields(cls)})

    def take(self, chosen: NDArray[np.bool_] | Whole) -> Self:
        """The chosen ones."""
        return type(self)(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})

    def front(self) -> Self:
        """Those that no other beats in both seconds and dollars, the cheapest first; of equals the first."""
        order = np.lexsort((self.usd, self.seconds))
        usd = self.usd[order]
        before = np.concatenate([[np.inf], np.minimum.accumulate(usd)[:-1]]) if len(usd) else usd
        return self.take(order[usd < before][::-1])

    def beats(self, seconds: Floats, usd: Floats) -> NDArray[np.bool_]:
        """Whether one of these, which are a front, is at least as good in both as each pair (k,) given."""
        if not len(self.usd):
            return np.zeros(np.shape(seconds), dtype=bool)
        at = len(self.usd) - np.searchsorted(self.seconds[::-1], seconds, side="right")
        cheapest = np.append(self.usd, np.inf)[at]
        return cheapest <= usd
