"""Spare machines at a discount: how much is saved, and how often they are taken away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from pennyweight.catalog.reading import table_of
from pennyweight.errors import UnknownNameError

_MONTH_H = 730.5
# The middle of each class; of the open one, the least that keeps the distance of the others.
_SHARE = {"<5%": 0.025, "5-10%": 0.075, "10-15%": 0.125, "15-20%": 0.175, ">20%": 0.225}


@dataclass(frozen=True, slots=True)
class Spot:
    """The share of the price saved in one place, and the class of how often the machine is taken away."""

    saving: float
    interruption: str

    @property
    def interruptions_hour(self) -> float:
        """Interruptions per hour, by the function of that name."""
        return interruptions_hour(self.interruption)


def interruptions_hour(frequency: str, kept_h: float = _MONTH_H) -> float:
    """Interruptions per hour of a machine in the class `frequency`, one of AWS's such as ``"5-10%"``.

    AWS publishes which share of the machines that ran in the last month were taken back, not how long they ran. With a
    rate constant in time and machines kept for `kept_h` hours, the rate is -ln(1 - share) / `kept_h`. A whole month is
    the most they can have been kept, so that the default is the least rate; kept for a day, it would be 30 times that.
    Raises `UnknownNameError`.
    """
    if frequency not in _SHARE:
        raise UnknownNameError.of("interruption class", frequency, _SHARE)
    return -math.log1p(-_SHARE[frequency]) / kept_h


def spot(cloud: str, region: str, instance: str) -> Spot | None:
    """What is known of spare machines of this kind in this place; None where nothing is."""
    return _spots().get((cloud, region, instance))


@cache
def _spots() -> dict[tuple[str, str, str], Spot]:
    return {
        (row["cloud"], row["region"], row["instance"]): Spot(float(row["saving"]), row["interruption"])
        for row in table_of("spot.csv")
    }
