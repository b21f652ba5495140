"""What it costs to keep a long run alive: checkpoints, work lost to interruptions and starting again.

Interruptions come at a constant rate, at any moment, during restarts too. Daly 2006, "A higher order estimate of the
optimum checkpoint interval for restart dumps" (Future Generation Computer Systems 22), equations 20 and 37; to first
order the interval is Young's √(2 · checkpoint · mean time between interruptions) of 1974.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.spot import interruptions_hour
from pennyweight.cost.transformer import parameters
from pennyweight.errors import BadInputError
from pennyweight.layout.memory.training import STATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.plans.training import TrainWork

    Floats = NDArray[np.float64]

_HOUR_S = 3600.0
# Llama Team 2024 (arXiv 2407.21783): 419 unexpected interruptions of 16,384 devices in 54 days (section 3.3.4), and
# storage that takes 2 TB/s from as many (section 3.3.1).
FAILURES_DEVICE_HOUR = 419 / (54 * 24 * 16384)
STORAGE_BYTE_S = 2e12 / 16384
RESTART_S = 600.0  # an assumption: another machine, its start, loading the checkpoint, first steps
UNKNOWN_CLASS = ">20%"  # where nobody says how often spare machines are taken away, the worst class there is


@dataclass(frozen=True, slots=True)
class Care:
    """How a run is kept alive: storage per device in bytes/s, seconds to start again, failures per device-hour.

    `kept_h` is how long spare machines of the interruption classes were kept (see `catalog.spot`): the fewer hours, the
    more often they are taken away.
    """

    storage_byte_s: float = STORAGE_BYTE_S
    restart_s: float = RESTART_S
    failures_device_hour: float = FAILURES_DEVICE_HOUR
    kept_h: float = 730.5

    def __post_init__(self) -> None:
        if not (self.storage_byte_s > 0 and self.kept_h > 0 and self.restart_s >= 0 and self.failures_device_hour >= 0):
            raise BadInputError(
                f"Storage of {self.storage_byte_s:g} B/s, restarts of {self.restart_s:g} s and "
                f"{self.failures_device_hour:g} failures an hour are no way to keep a run alive.",
                "give a bandwidth above zero, and no times or rates below zero.",
            )


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Of each run (n,), or of one: seconds of a checkpoint and between two, interruptions an hour, and the factor.

    `factor` is expected time over the time that steps alone take; infinite where a run never ends.
    """

    checkpoint_s: Floats | float
    every_s: Floats
    interruptions_hour: Floats | float
    factor: Floats


def upkeep(work: TrainWork, devices: Floats | float, spare_hour: Floats | float, care: Care) -> Upkeep:
    """What keeping a run on so many `devices` alive takes; all of it is taken away `spare_hour` times an hour."""
    weight, _, state = STATE[work.precision if work.precision in STATE else "fp8"]
    checkpoint_s = float(parameters(work.dims)) * (weight + state) / (care.storage_byte_s * devices)
    hourly = spare_hour + care.failures_device_hour * devices
    with np.errstate(divide="ignore"):
        mean_s = np.divide(_HOUR_S, hourly)
    every_s = interval_s(checkpoint_s, mean_s)
    return Upkeep(checkpoint_s, every_s, hourly, factor(checkpoint_s, care.restart_s, mean_s, every_s))


def machine_interruptions_hour(frequency: str, care: Care) -> float:
    """How often an hour a spare machine of an interruption class is taken away; unknown is the worst class."""
    return interruptions_hour(frequency or UNKNOWN_CLASS, care.kept_h)


def interval_s(checkpoint_s: Floats | float, mean_s: Floats | float) -> Floats:
    """The best seconds (n,) of work between checkpoints of `checkpoint_s` (n,), interrupted after `mean_s` (n,).

    Daly's equation 37; infinite where nothing ever interrupts.
    """
    half = checkpoint_s / (2.0 * mean_s)
    root = np.sqrt(2.0 * checkpoint_s * mean_s)
    found = root * (1.0 + np.sqrt(half) / 3.0 + half / 9.0) - checkpoint_s
    return np.where(half < 1.0, found, mean_s)


def factor(checkpoint_s: Floats | float, restart_s: float, mean_s: Floats | float, every_s: Floats | float) -> Floats:
    """Expected time (n,) over useful time with a checkpoint after `every_s` (n,) of work; Daly's equation 20.

    A piece of work and its checkpoint is begun again, after a restart, until it is through without interruption.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = mean_s * np.exp(restart_s / mean_s) * np.expm1((every_s + checkpoint_s) / mean_s) / every_s
    return np.where(np.isfinite(mean_s), np.where(np.isnan(found), np.inf, found), 1.0)
