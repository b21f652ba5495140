"""What to change in a training when it pays: batch size, precision, learning rate, hardware; each with its saving."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.units import percent, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pennyweight.control.curves import Outlook
    from pennyweight.train.noise import Noise

_WORTH = 0.05  # of what is left to spend: the least saving for which anything is changed


@dataclass(frozen=True, slots=True)
class Change:
    """What to change, from what to what, the dollars it is expected to save of what is left, and why."""

    what: str
    old: str
    new: str
    saving_usd: float
    reason: str

    def facts(self) -> dict[str, Any]:
        """As JSON, for the ledger."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.what}: {self.old} → {self.new} saves {usd(self.saving_usd)}. {self.reason}"


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a training as it is: `steps` of `step_usd` each."""

    steps: float
    step_usd: float

    @property
    def usd(self) -> float:
        """Dollars to the end."""
        return self.steps * self.step_usd


@dataclass(frozen=True, slots=True)
class Place:
    """Hardware on offer: dollars per hour, how many times as fast as here, and what moving there costs once."""

    name: str
    usd_hour: float
    speed: float
    move_usd: float = 0.0


def batch_size(
    left: Left, batch: int, noise: Noise, step_usd: Callable[[int], float], offers: Iterable[int]
) -> Change | None:
    """The batch size that makes the rest cheapest; None if none saves a twentieth of it.

    The same progress takes steps in proportion to 1 + noise / batch (McCandlish et al. 2018), and a step of b rows
    costs ``step_usd(b)``.
    """
    if not math.isfinite(noise.rows):
        return None
    costs = {rows: left.steps * noise.steps(rows) / noise.steps(batch) * step_usd(rows) for rows in {*offers, batch}}
    best = min(costs, key=lambda rows: (costs[rows], rows))
    reason = (
        f"The gradient noise scale is {noise.rows:.0f} rows: {best} rows a step need "
        f"{noise.steps(best) / noise.steps(batch):.2f} times the steps, at {step_usd(best) / step_usd(batch):.2f} "
        "times the price of each."
    )
    return _worth(Change("batch", str(batch), str(best), costs[batch] - costs[best], reason), left)


def precision(left: Left, old: str, measured: dict[str, float]) -> Change | None:
    """The precision whose steps are cheapest, by dollars per step measured of each; None if it saves too little."""
    best = min(measured, key=lambda name: measured[name])
    saving = left.steps * (left.step_usd - measured[best])
    reason = f"A step in {best} costs {percent(measured[best] / left.step_usd, 0)} of one in {old}."
    return _worth(Change("precision", old, best, saving, reason), left) if best != old else None


def learning_rate(
    left: Left, lr: float, outlook: Outlook, target: float, suggested: tuple[float, float]
) -> Change | None:
    """A lower learning rate where the forecast says that this one leads nowhere; None where it leads to the target.

    `suggested` is a rate and the share of the steps left in which it is expected to do as much. When the chance of the
    target is below one half at the horizon, what is left would be spent for nothing.
    """
    chance = outlook.chance(target, outlook.horizon)
    if chance >= 1 / 2 or not 0 < suggested[0] < lr:
        return None
    saving = left.usd * (1 - chance) * (1 - suggested[1])
    reason = f"At this rate the chance to reach {target:.4g} is {percent(chance, 0)}."
    return _worth(Change("lr", f"{lr:g}", f"{suggested[0]:g}", saving, reason), left)


def hardware(left: Left, here: Place, offers: Iterable[Place]) -> Change | None:
    """The place where the rest costs least, the move included; None if none saves a twentieth of it."""
    seconds_usd = {
        place: left.usd * (place.usd_hour / here.usd_hour) / place.speed + place.move_usd for place in offers
    }
    if not seconds_usd:
        return None
    best = min(seconds_usd, key=lambda place: seconds_usd[place])
    reason = (
        f"{best.name} is {best.speed:g} times as fast for {best.usd_hour / here.usd_hour:.2f} times the price; moving "
        f"costs {usd(best.move_usd)}."
    )
    return _worth(Change("hardware", here.name, best.name, left.usd - seconds_usd[best], reason), left)


def best_change(changes: Iterable[Change | None]) -> Change | None:
    """The change that saves most, None if none pays."""
    return max(filter(None, changes), key=lambda change: change.saving_usd, default=None)


def _worth(change: Change, left: Left) -> Change | None:
    return change if change.old != change.new and change.saving_usd > _WORTH * left.usd else None
