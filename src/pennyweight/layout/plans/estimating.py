"""What one training run costs on devices of one kind: time, dollars, energy, carbon, memory, each with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.accelerators import accelerator as accelerator_of
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError, OverBudgetError
from pennyweight.layout.plans import weighing
from pennyweight.layout.plans.drawing import SPREAD, device_w, grid_of
from pennyweight.layout.plans.renting import Rented, Terms, kept_alive, places
from pennyweight.layout.plans.searching import Field, Site
from pennyweight.layout.plans.spreading import ANY, Choices
from pennyweight.layout.plans.stacks import choices_of, near, pace
from pennyweight.layout.timing.cases import Cases, Machines, Models
from pennyweight.layout.timing.step import PARTS, parts_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.plans.stacks import Near, Pace
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.plans.upkeep import Upkeep

    Floats = NDArray[np.float64]

__all__ = ["Estimate", "Range", "Rented", "Terms", "detail", "estimate"]

_HOUR_S, _DAY_S = 3600.0, 86400.0
_UNITS = {"mxfp8": "fp8", "nvfp4": "fp4"}
_SEARCHED = 1 << 17  # devices, when told how many a model needs at least


@dataclass(frozen=True, slots=True)
class Range:
    """A figure and the ends of its 90% interval."""

    value: float
    low: float
    high: float

    def times(self, scale: float) -> Range:
        """The same in another unit, or of so many."""
        return Range(self.value * scale, self.low * scale, self.high * scale)

    def wider(self, spread: float) -> Range:
        """Its product with something else that is within a factor of `spread` nine times in ten."""
        down, up = (math.hypot(math.log(end / self.value), math.log(spread)) for end in (self.low, self.high))
        return Range(self.value, self.value * math.exp(-down), self.value * math.exp(up))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A training run before it is begun.

    `step` is seconds of one step, `seconds` the expected time of all with checkpoints and interruptions (`upkeep`).
    `usd` is None where nobody sells these devices. `mfu` counts the FLOP the model needs against the published peak of
    the precision. `memory` is bytes on the fullest device by part, `parts_s` seconds of a step by part. `near` is the
    measured run most like it. `said` are the assumptions made.
    """

    work: TrainWork
    accelerator: str
    rented: Rented
    layout: Layout
    step: Range
    mfu: Range
    seconds: Range
    usd: Range | None
    joule: Range
    kg_co2e: Range
    upkeep: Upkeep
    memory: Mapping[str, float]
    memory_byte: float
    memory_high_byte: float
    capacity_byte: float
    parts_s: Mapping[str, float]
    near: Near
    said: tuple[str, ...]

    @property
    def devices(self) -> int:
        """On how many devices."""
        return self.rented.devices

    @property
    def fits(self) -> bool:
        """Whether the upper end of the memory fits on a device."""
        return self.memory_high_byte <= self.capacity_byte


def estimate(
    work: TrainWork, accelerator: str, count: int, layout: Layout | Choices | None = None, terms: Terms | None = None
) -> Estimate:
    """Estimate `work` on `count` devices: in the layout given, or in the fastest of those that may be chosen and fit.

    Of the offers that `terms` allow, the one with which the run is cheapest is taken; devices that nobody sells are
    timed without dollars. Raises `BadInputError` for a layout that is impossible, and `OverBudgetError` where none fits
    and no layout was given.
    """
    asked = terms or Terms()
    device = accelerator_of(accelerator)
    if count < 1:
        raise BadInputError(f"Nothing can be trained on {count} devices.", "give one or more, such as 512xh100.")
    choices = Choices.of(layout) if isinstance(layout, Layout) else choices_of(asked.stack, layout or ANY)
    found: list[tuple[float, float, Rented, Layout]] = []
    known = places(device, count, asked)
    for site, offer in known:
        rent, field = Rented(offer, count, asked.spare), _field(work, count, site, choices, known)
        if field is None:
            continue
        step_s, place = _timed(field, site, asked, fixed=isinstance(layout, Layout))
        if math.isfinite(step_s):
            usd_s = rent.usd_hour * float(kept_alive(work, rent, asked.care).factor) * step_s
            found.append((usd_s, step_s, rent, field.spread.layout(*place, work.precision)))
    if not found:
        raise _too_large(work, device, count, choices)
    _, _, rent, chosen = min(found, key=itemgetter(0, 1))
    return detail(work, rent, chosen, device, asked)


def detail(work: TrainWork, rent: Rented, layout: Layout, device: Accelerator, terms: Terms) -> Estimate:
    """All figures of one layout on one kind of machine."""
    site = Site.of(rent.offer) if rent.offer else Site.usual(device)
    field = Field.of(work, [rent.devices], max(site.domain, layout.tp), Choices.of(layout))
    kept, speed = kept_alive(work, rent, terms.care), pace(terms.stack, work, device.name, terms.calibration)
    cases = _case(field, site)
    parts = dict(zip(PARTS, _parts_s(cases, speed).tolist(), strict=True))
    step = Range(sum(parts.values()), *speed.interval(sum(parts.values())))
    seconds = step.times(work.steps * float(kept.factor))
    peak_s = work.step_flop / (rent.devices * device.peak(work.precision))
    watts = device_w(device, parts, peak_s / step.value) * rent.devices * terms.pue
    joule = seconds.times(watts).wider(SPREAD)
    power = grid_of(terms.grid, rent.offer)
    memory, whole, high = _memory(field, device)
    return Estimate(
        work=work,
        accelerator=device.name,
        rented=rent,
        layout=layout,
        step=step,
        mfu=Range(peak_s / step.value, peak_s / step.high, peak_s / step.low),
        seconds=seconds,
        usd=seconds.times(rent.usd_hour / _HOUR_S) if rent.offer else None,
        joule=joule,
        kg_co2e=joule.times(power.kg_co2e(1.0)),
        upkeep=kept,
        memory=memory,
        memory_byte=whole,
        memory_high_byte=high,
        capacity_byte=device.memory_byte,
        parts_s=parts,
        near=near(terms.stack, cases),
        said=_said(work, rent, device, speed.said, power.place),
    )


def _field(
    work: TrainWork, count: int, site: Site, choices: Choices, known: Sequence[tuple[Site, Offer | None]]
) -> Field | None:
    """All layouts at a site; what is illegal at the site with most fast links is illegal everywhere, and raised."""
    try:
        return Field.of(work, [count], site.domain, choices)
    except BadInputError:
        if site.domain == max(each.domain for each, _ in known):
            raise
        return None


def _timed(field: Field, site: Site, terms: Terms, *, fixed: bool) -> tuple[float, tuple[int, int]]:
    """Seconds of a step, infinite if nothing fits, and the place of the fastest layout; a fixed one in any case."""
    if fixed:
        return float(field.timed(site, terms.stack, terms.calibration)[0, 0]), (0, 0)
    best = field.best(site, terms.stack, calibration=terms.calibration)
    return float(best.step_s[0]), (int(best.row[0]), int(best.trick[0]))


def _case(field: Field, site: Site) -> Cases:
    """The one layout of a field at a site."""
    work, spread = field.work, field.spread
    deep = replace(Models.one(work.dims), layers=np.float64(spread.layers[0]))
    rates = Machines.one(site.machine(work.precision))
    return Cases(deep, spread.grid(), rates, float(work.sequence), float(work.global_batch))


def _parts_s(cases: Cases, speed: Pace) -> Floats:
    """Seconds (parts,) of a step of one layout."""
    found: Floats = parts_s(cases, speed.stack)[0, 0]
    whole = found.sum()
    return np.asarray(found * (speed.seconds(whole) / whole))


def _memory(field: Field, device: Accelerator) -> tuple[dict[str, float], float, float]:
    """Bytes by part, in all, and at most, of the one layout of a field."""
    parts = weighing.counted(field.work, field.spread)
    named = {each.name: float(np.ravel(getattr(parts, each.name))[0]) for each in fields(parts)}
    whole, high = weighing.held(field.total, field.spread, device)
    named = {name: byte for name, byte in named.items() if byte}
    return named | {"other": float(whole[0, 0]) - sum(named.values())}, float(whole[0, 0]), float(high[0, 0])


def _said(work: TrainWork, rent: Rented, device: Accelerator, speed: str, place: str) -> tuple[str, ...]:
    said = [speed, f"power of {place}"]
    if rent.offer is None:
        said.append("nobody in the catalog sells these devices")
    elif rent.machines > 1 and rent.offer.net_byte_s is None:
        said.append(f"the network is taken as usual for {device.name}; {rent.offer.cloud} does not say")
    if rent.spare and rent.offer is not None and not rent.offer.interruption:
        said.append("nobody says how often these spare machines are taken away: the worst class is assumed")
    units = device.units(work.precision)
    if units not in {work.precision, _UNITS.get(work.precision)}:
        said.append(f"{device.name} has no units for {work.precision} and computes in {units}")
    if device.assumed:
        said.append(f"guessed for {device.name}: {', '.join(device.assumed)}")
    return tuple(said)


def _too_large(work: TrainWork, device: Accelerator, count: int, choices: Choices) -> OverBudgetError:
    """The error that says how many devices it takes at least."""
    site = Site.usual(device)
    more = count
    while more < _SEARCHED:
        more *= 2
        try:
            field = Field.of(work, [more], site.domain, choices)
        except BadInputError:
            continue
        if (weighing.held(field.total, field.spread, device)[1][field.spread.legal] <= device.memory_byte).any():
            break
    else:
        return OverBudgetError(
            f"{work.dims.name} fits on {device.name} in no layout.",
            "take devices with more memory, or shorter sequences.",
        )
    return OverBudgetError(
        f"No layout of {work.dims.name} fits on {count} {device.name}.",
        f"give {more} or more: --on {more}x{device.name}.",
    )
