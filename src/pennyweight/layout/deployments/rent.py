"""What so many replicas of a served model cost an hour: whole machines of the cheapest offer that holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.offers import offers
from pennyweight.errors import BadInputError
from pennyweight.layout.plans.upkeep import Care, machine_interruptions_hour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.catalog.offer import Offer

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Rent:
    """Machines of one offer, on demand or `spare`, for `usd_hour` together.

    Spare ones cost as much more as are paid while they start in the place of those that were taken away.
    """

    offer: Offer
    spare: bool
    machines: int
    usd_hour: float


@dataclass(frozen=True, slots=True)
class Market:
    """The offers that are looked at, by accelerator, each on demand or spare."""

    of: dict[str, tuple[tuple[Offer, bool], ...]]

    @classmethod
    def open(
        cls, on: Sequence[str] = (), *, spare: bool | None = None, cloud: str | None = None, region: str | None = None
    ) -> Self:
        """Offers of the accelerators `on` (none: of all); `spare` only, or not, or (None) both.

        Raises `BadInputError` where nobody rents them so.
        """
        names: list[str | None] = [accelerator(name).name for name in on] or [None]
        sold = [each for name in names for each in offers(name, cloud=cloud, region=region)]
        modes = (False, True) if spare is None else (spare,)
        found: dict[str, list[tuple[Offer, bool]]] = {}
        for each in sold:
            ways = [(each, mode) for mode in modes if math.isfinite(each.device_hour_usd(spare=mode))]
            if ways:
                found.setdefault(each.accelerator, []).extend(ways)
        if not found:
            what = ", ".join(on) or "accelerators"
            raise BadInputError(f"Nobody on the price list rents {what} so.", "see who rents what: pennyweight prices.")
        return cls({name: tuple(ways) for name, ways in found.items()})

    def most(self) -> dict[str, int]:
        """The most devices of one machine, by accelerator."""
        return {name: max(offer.devices for offer, _ in ways) for name, ways in self.of.items()}

    def cheapest(self, name: str, group: int, replicas: int) -> Rent:
        """The cheapest way to rent machines for so many `replicas`, each on `group` devices of one machine."""
        fitting = [(offer, spare) for offer, spare in self.of[name] if offer.devices >= group]
        return min((rented(each, group, replicas) for each in fitting), key=lambda each: each.usd_hour)

    def least_usd(self, name: str, group: int) -> float:
        """Dollars an hour that one of many replicas costs at least."""
        return min(
            machine_usd(offer, spare=spare) / (offer.devices // group)
            for offer, spare in self.of[name]
            if offer.devices >= group
        )


def rented(way: tuple[Offer, bool], group: int, replicas: int) -> Rent:
    """Machines of one offer, on demand or spare, for so many `replicas`, each on `group` devices of one machine."""
    offer, spare = way
    machines = -(-replicas // (offer.devices // group))
    return Rent(offer, spare, machines, machines * machine_usd(offer, spare=spare))


def machine_usd(offer: Offer, *, spare: bool) -> float:
    """Dollars an hour of one machine that is there; of spare ones some are paid while they start again."""
    usd = offer.device_hour_usd(spare=spare) * offer.devices
    if not spare:
        return usd
    care = Care()
    return usd * (1 + machine_interruptions_hour(offer.interruption, care) * care.restart_s / _HOUR_S)
