"""What two pools that send each other keys and values cost an hour: on the same machines, or in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, final

from pennyweight.catalog.accelerators import accelerator
from pennyweight.layout.deployments.rent import Rent, machine_usd

if TYPE_CHECKING:
    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.deployments.rent import Market

    Place = tuple[str, str]

_AS_FAST = 0.9  # of the network that is counted with, or an offer is not for two pools


@dataclass(frozen=True, slots=True)
class Part:
    """So many instances, each on `group` devices of one machine of this accelerator."""

    name: str
    group: int
    count: int


@final
class Joined:
    """Offers of a market whose machines are joined by a network that is fast enough to move keys over.

    `net_byte_s` of each accelerator is its own, or the fastest that is sold where that is known to be slower. Whole
    machines of an unknown network are taken to have it, parts of machines are not: these hold two pools only where one
    of them is enough. Pools of different accelerators are in one region of one cloud.
    """

    def __init__(self, market: Market) -> None:
        self.net_byte_s = {name: _network(name, [offer for offer, _ in ways]) for name, ways in market.of.items()}
        self._sold = {
            name: [(offer, spare, machine_usd(offer, spare=spare)) for offer, spare in ways]
            for name, ways in market.of.items()
        }

    def places(self, name: str, group: int) -> dict[Place, float]:
        """Dollars an hour of one of many instances at least, by cloud and region."""
        found: dict[Place, float] = {}
        for offer, _, usd in self._sold[name]:
            if offer.devices >= group:
                place, each = (offer.cloud, offer.region), usd * group / offer.devices
                found[place] = min(found.get(place, math.inf), each)
        return found

    def rent(self, read: Part, write: Part) -> tuple[Rent, Rent | None] | None:
        """The cheapest machines of those that answer, and of those that read if they have their own; None: nowhere."""
        return self._shared(read, write) if read.name == write.name else self._apart(read, write)

    def _shared(self, read: Part, write: Part) -> tuple[Rent, None] | None:
        most = max(read.group, write.group)
        counts = [
            (machines * usd, machines, offer, spare)
            for offer, spare, usd in self._sold[read.name]
            if offer.devices >= most
            for machines in [packed(offer.devices, read, write)]
            if machines == 1 or self._fast(offer)
        ]
        if not counts:
            return None
        usd, machines, offer, spare = min(counts, key=itemgetter(0))
        return Rent(offer, spare, machines, usd), None

    def _apart(self, read: Part, write: Part) -> tuple[Rent, Rent] | None:
        one, other = self._by_place(read), self._by_place(write)
        both = [(one[place].usd_hour + other[place].usd_hour, place) for place in one.keys() & other.keys()]
        if not both:
            return None
        _, place = min(both)
        return other[place], one[place]

    def _by_place(self, part: Part) -> dict[Place, Rent]:
        """The cheapest machines for one pool by itself, by cloud and region."""
        found: dict[Place, Rent] = {}
        for offer, spare, usd in self._sold[part.name]:
            if offer.devices >= part.group and self._fast(offer):
                machines = -(-part.count // (offer.devices // part.group))
                place, rent = (offer.cloud, offer.region), Rent(offer, spare, machines, machines * usd)
                if place not in found or rent.usd_hour < found[place].usd_hour:
                    found[place] = rent
        return found

    def _fast(self, offer: Offer) -> bool:
        if offer.net_byte_s is None:
            return offer.devices >= accelerator(offer.accelerator).node_devices
        return offer.net_byte_s >= _AS_FAST * self.net_byte_s[offer.accelerator]


def packed(devices: int, one: Part, other: Part) -> int:
    """How many machines of so many devices hold two pools together: the larger instances first, then the others."""
    large, small = sorted((one, other), key=lambda part: -part.group)
    each = devices // large.group
    machines = -(-large.count // each)
    last = large.count - (machines - 1) * each
    room = (machines - 1) * ((devices - each * large.group) // small.group)
    room += (devices - last * large.group) // small.group
    return machines + max(-(-(small.count - room) // (devices // small.group)), 0)


def _network(name: str, sold: list[Offer]) -> float:
    known = [offer.net_byte_s for offer in sold if offer.net_byte_s is not None]
    own = accelerator(name).net_byte_s
    return min(own, max(known)) if known else own
