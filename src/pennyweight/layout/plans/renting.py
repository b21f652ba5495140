"""Machines for rent that make one cluster: on whose terms, at what price, and what keeps a run on them alive."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.grids import PUE
from pennyweight.catalog.offers import offers
from pennyweight.errors import BadInputError
from pennyweight.layout.plans.searching import Site
from pennyweight.layout.plans.upkeep import Care, Upkeep, machine_interruptions_hour, upkeep

if TYPE_CHECKING:
    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.scoring.calibrating import Calibration


@dataclass(frozen=True, slots=True)
class Terms:
    """On whose machines and how: `spare` ones may be taken away; None is anyone, anywhere, the grid that is there.

    `pue` is what a data centre draws over what its machines draw; `stack` the training software, as in
    `plans.stacks`; `care` how the run is kept alive; `calibration` what measured steps of one's own say.
    """

    cloud: str | None = None
    region: str | None = None
    spare: bool = False
    grid: str | None = None
    pue: float = PUE
    stack: str = "megatron"
    care: Care = field(default_factory=Care)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if not (self.pue >= 1 and math.isfinite(self.pue)):
            raise BadInputError(f"A data centre with a PUE of {self.pue:g} does not exist.", "give 1 or more.")


@dataclass(frozen=True, slots=True)
class Rented:
    """Machines of one offer, on demand or `spare`, for so many devices; `usd_hour` of all of them together."""

    offer: Offer | None
    devices: int
    spare: bool

    @property
    def machines(self) -> int:
        """How many whole machines are paid."""
        return -(-self.devices // self.offer.devices) if self.offer else 0

    @property
    def usd_hour(self) -> float:
        """Dollars per hour; infinite where nobody sells them."""
        if self.offer is None:
            return math.inf
        return self.offer.device_hour_usd(spare=self.spare) * self.offer.devices * self.machines


def rentable(offer: Offer, count: int) -> bool:
    """Whether so many devices of an offer make one cluster: of parts of machines, only where their network is known."""
    device = accelerator(offer.accelerator)
    fabric = device.fast_devices > device.node_devices
    whole = offer.devices >= device.node_devices
    return count <= offer.devices or whole or fabric or offer.net_byte_s is not None


def places(device: Accelerator, count: int, terms: Terms) -> list[tuple[Site, Offer | None]]:
    """Where so many devices can be had: of each site the cheapest offer; without any, machines as usually built."""
    sold = offers(device.name, cloud=terms.cloud, region=terms.region, spare=terms.spare)
    cheapest: dict[Site, Offer] = {}
    for offer in sorted(sold, key=lambda each: Rented(each, count, terms.spare).usd_hour):
        if rentable(offer, count):
            cheapest.setdefault(Site.of(offer), offer)
    if cheapest:
        return [*cheapest.items()]
    if terms.cloud or terms.region or terms.spare:
        raise BadInputError(
            f"Nobody sells {count} {device.name} so.", f"see who does: pennyweight prices --accelerator {device.name}."
        )
    return [(Site.usual(device), None)]


def kept_alive(work: TrainWork, rent: Rented, care: Care) -> Upkeep:
    """What keeping the run alive on these machines takes."""
    hourly = 0.0
    if rent.spare and rent.offer is not None:
        hourly = rent.machines * machine_interruptions_hour(rent.offer.interruption, care)
    return upkeep(work, rent.devices, hourly, care)
