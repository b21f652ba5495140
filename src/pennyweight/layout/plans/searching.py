"""The best layout of a model on each number of devices of one kind: what fits is timed, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.cost.transformer import forward_flop
from pennyweight.layout.plans import weighing
from pennyweight.layout.plans.spreading import ANY, spread
from pennyweight.layout.plans.stacks import pace
from pennyweight.layout.timing.cases import Cases, Machines, Models
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.step import step_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.plans.spreading import Choices, Spread
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.scoring.calibrating import Calibration
    from pennyweight.layout.timing.rates import Machine

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]

BLOCK = 4096  # rows timed at once: columns that stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Site:
    """Where devices stand: their kind, how many of them fast links join, and each one's network where it is known."""

    accelerator: str
    domain: int
    net_byte_s: float | None = None

    @classmethod
    def of(cls, offer: Offer) -> Site:
        """The site an offer rents: fast links end at the machine, unless they are made to join many of them."""
        device = accelerator(offer.accelerator)
        fabric = device.fast_devices > device.node_devices
        return cls(
            device.name, device.fast_devices if fabric else min(device.fast_devices, offer.devices), offer.net_byte_s
        )

    @classmethod
    def usual(cls, device: Accelerator) -> Site:
        """Whole machines as they are usually built."""
        return cls(device.name, device.fast_devices)

    @property
    def device(self) -> Accelerator:
        """The kind of its devices."""
        return accelerator(self.accelerator)

    def machine(self, precision: str) -> Machine:
        """The achievable rates there; raises `BadInputError` where the devices cannot compute in this precision."""
        return replace(machine(self.device, precision, self.net_byte_s), node=float(self.domain))


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest layout that fits on each number of devices (c,): its seconds a step, and its row and trick.

    Seconds are infinite where none fits; `least_byte` (c,) is what the smallest layout may take on a device. So many
    legal layouts were `timed`.
    """

    devices: Whole
    step_s: Floats
    row: Whole
    trick: Whole
    least_byte: Floats
    timed: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """All layouts of some work on some numbers of devices, and the bytes counted for each, whatever the devices are."""

    work: TrainWork
    spread: Spread
    total: Floats

    @classmethod
    def of(cls, work: TrainWork, devices: Sequence[int], domain: int, choices: Choices = ANY) -> Field:
        """Spread the work; raises `BadInputError` where no layout is legal."""
        found = spread(work, devices, domain, choices)
        return cls(work, found, cls.weighed(work, found))

    @staticmethod
    def weighed(work: TrainWork, found: Spread) -> Floats:
        """Bytes (m, t) counted for each layout."""
        blocks = [weighing.counted(work, found.only(rows)).total for rows in _blocks(len(found.layers))]
        return np.concatenate(blocks)

    def timed(self, site: Site, stack: str, calibration: Calibration | None = None) -> Floats:
        """Seconds (m, t) of a step of every layout, those too that do not fit or are not legal."""
        speed = pace(stack, self.work, site.accelerator, calibration)
        rates = Machines.one(site.machine(self.work.precision))
        model = Models.one(self.work.dims)
        sequence, batch = float(self.work.sequence), float(self.work.global_batch)
        found = []
        for rows in _blocks(len(self.total)):
            part = self.spread.only(rows)
            deep = replace(model, layers=part.layers[:, None].astype(np.float64))
            found.append(step_s(Cases(deep, part.grid(), rates, sequence, batch), speed.stack))
        return speed.seconds(np.concatenate(found))

    def best(self, site: Site, stack: str, wanted: Whole | None = None, calibration: Calibration | None = None) -> Best:
        """The fastest layout of which the upper end of memory fits, on each number of devices or those `wanted`."""
        devices = self.spread.rows["devices"]
        asked = np.arange(len(devices)) if wanted is None else np.flatnonzero(np.isin(devices, wanted))
        part = Field(self.work, self.spread.only(asked), self.total[asked])
        _, high = weighing.held(part.total, part.spread, site.device)
        high = np.where(part.spread.legal, high, np.inf)
        fits = high <= site.device.memory_byte
        step = np.full(high.shape, np.inf)
        some = np.flatnonzero(fits.any(axis=1))
        if len(some):
            kept = Field(self.work, part.spread.only(some), part.total[some])
            step[some] = np.where(fits[some], kept.timed(site, stack, calibration), np.inf)
        found = _fastest(part.spread.rows["devices"], step, high)
        return replace(found, row=asked[found.row], timed=int(part.spread.legal[some].sum()))


def _fastest(devices: Whole, step: Floats, high: Floats) -> Best:
    trick = step.argmin(axis=1)
    each = step[np.arange(len(step)), trick]
    counts, starts = np.unique(devices, return_index=True)
    fastest = np.minimum.reduceat(each, starts)
    which = np.searchsorted(counts, devices)
    rows = np.flatnonzero(each == fastest[which])
    _, first = np.unique(which[rows], return_index=True)
    row = rows[first]
    return Best(counts, fastest, row, trick[row], np.minimum.reduceat(high.min(axis=1), starts))


def least_s(work: TrainWork, site: Site, stack: str, calibration: Calibration | None = None) -> float:
    """Device-seconds that a step takes at least: its matrix products at the rate that only large ones reach."""
    rates = site.machine(work.precision)
    once = forward_flop(work.dims, work.sequence)
    flop = 3.0 * float(once.projections + once.dense + once.experts + once.shared) * work.global_batch
    speed = pace(stack, work, site.accelerator, calibration)
    return speed.least * speed.stack.matmul * flop / rates.flop_s


def _blocks(rows: int) -> list[Whole]:
    return [np.arange(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK)]
