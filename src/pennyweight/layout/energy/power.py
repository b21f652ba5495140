"""Watts, joules and carbon: what a device draws when utilised, and the cheapest setting within a slowdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pennyweight.catalog.accelerators import Accelerator

    Numbers = NDArray[np.float64]

JOULE_KWH = 3.6e6
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Draw:
    """The load of a device that runs a program: watts over its power limit, from how it is utilised.

    `load = running + memory · √(share of the peak bandwidth) + compute · √(share of the peak rate)`, at most one. A
    device draws nearly half of its power as soon as kernels run on it, however little they move. The default is fitted
    on 553 language-model services on H100 and B200 (github ml-energy/leaderboard@0cd52da): a mean error of 15% of the
    watts, 16% on models and 18% on a device that were left out.
    """

    running: float = 0.467
    memory: float = 0.225
    compute: float = 0.607

    def watts(
        self, device: Accelerator, memory: ArrayLike, compute: ArrayLike, limit_w: ArrayLike | None = None
    ) -> Numbers:
        """Watts (n,) of one device at these shares (n,) of its bandwidth and peak rate, under a power limit."""
        shares = np.asarray(memory, dtype=np.float64), np.asarray(compute, dtype=np.float64)
        if any((each < 0).any() or (each > 1).any() for each in shares):
            raise BadInputError("A device cannot be utilised below 0 or above 1.", "give shares of its peak rates.")
        load = self.running + self.memory * np.sqrt(shares[0]) + self.compute * np.sqrt(shares[1])
        most = device.busy_w if limit_w is None else np.minimum(np.asarray(limit_w, dtype=np.float64), device.busy_w)
        return np.minimum(np.minimum(load, 1.0) * device.busy_w, most)


def kg_co2e(joule: ArrayLike, kg_kwh: float, pue: float = 1.0) -> Numbers:
    """Kilograms of CO2 equivalent (n,) of joules (n,) of devices, in a building that takes `pue` times as much."""
    if kg_kwh < 0 or pue < 1:
        raise BadInputError(
            f"A grid of {kg_kwh:g} kg per kWh and a PUE of {pue:g} cannot be.", "give at least 0 and at least 1."
        )
    return np.asarray(joule, dtype=np.float64) / JOULE_KWH * kg_kwh * pue


@dataclass(frozen=True, slots=True)
class Tariff:
    """What time and energy cost: the device by the hour, electricity by the kWh, times what the building adds."""

    usd_hour: float = 0.0
    usd_kwh: float = 0.0
    pue: float = 1.0

    def usd(self, seconds: Numbers, watts: Numbers) -> Numbers:
        """Dollars (n,) of `seconds` (n,) at `watts` (n,); without any price, joules: what is least is the same."""
        joule = seconds * watts
        if self.usd_hour == 0 and self.usd_kwh == 0:
            return joule
        return seconds / HOUR_S * self.usd_hour + joule / JOULE_KWH * self.usd_kwh * self.pue


@dataclass(frozen=True, slots=True)
class Choices:
    """Settings (n,) to choose from: power limit, batch, and the seconds and mean watts that a job takes with each.

    A job is an epoch, or all epochs until a target: multiply the seconds by how many a batch size needs.
    """

    limit_w: Numbers
    batch: Numbers
    seconds: Numbers
    watts: Numbers

    def __post_init__(self) -> None:
        columns = (self.limit_w, self.batch, self.seconds, self.watts)
        if len({len(each) for each in columns}) != 1 or not len(self.seconds):
            raise BadInputError("Choices differ in length, or there are none.", "give limit, batch, seconds and watts.")

    def best(self, tariff: Tariff | None = None, slowdown: float = np.inf) -> int:
        """Which is the cheapest of those that take at most `1 + slowdown` times as long as the fastest.

        Settings that reach no target (seconds infinite or NaN) are left out; without a tariff, joules are the cost.
        """
        if slowdown < 0:
            raise BadInputError(
                f"Nothing is faster than the fastest by {-slowdown:g}.", "give a slowdown of 0 or more."
            )
        reached = np.isfinite(self.seconds)
        if not reached.any():
            raise BadInputError("No setting reaches the target.", "ask for less, or measure other batch sizes.")
        allowed = reached & (self.seconds <= (1 + slowdown) * self.seconds[reached].min())
        cost = np.where(allowed, (tariff or Tariff()).usd(self.seconds, self.watts), np.inf)
        return int(np.argmin(cost))

    def balanced(self, eta: float, most_w: float) -> int:
        """Which is best by Zeus' cost: `eta` of it joules, the rest seconds at the most watts a device may draw.

        You, Chung & Chowdhury, NSDI 2023, equation 2: `η · energy + (1 - η) · max power · time`.
        """
        if not 0 <= eta <= 1:
            raise BadInputError(f"Energy cannot be {eta:g} of the cost.", "give a share between 0 and 1.")
        cost = eta * self.seconds * self.watts + (1 - eta) * most_w * self.seconds
        if not np.isfinite(cost).any():
            raise BadInputError("No setting reaches the target.", "ask for less, or measure other batch sizes.")
        return int(np.nanargmin(cost))

    def take(self, chosen: NDArray[Any]) -> Choices:
        """The settings chosen by a mask or by positions."""
        return Choices(self.limit_w[chosen], self.batch[chosen], self.seconds[chosen], self.watts[chosen])
