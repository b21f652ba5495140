"""Weigh a finished model: its cost per prediction, control and candidate in turn, in the runtime that will serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Cost
from pennyweight.cost.pace import pace, yardsticks
from pennyweight.cost.race import race, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.catalog import Device
    from pennyweight.core import Artifact, Session


@dataclass(frozen=True, slots=True)
class Weight:
    """One prediction's `unit` cost (no dollars yet) and the relative half-width of its 95% interval."""

    unit: Cost
    error: float


@dataclass(frozen=True, slots=True)
class Scale:
    """The control, kept loaded, and what it weighed first; candidates are weighed as a ratio to it.

    A slow minute of the machine slows both sides of a ratio, so candidates weighed hours apart stay comparable.
    """

    control: Callable[[], object]
    weight: Weight

    def weigh(self, candidate: Callable[[], object]) -> Weight:
        """Weigh `candidate` (one call, as many predictions as the control's call) against the control."""
        timing = race({"control": self.control, "candidate": candidate})
        times = ratio(timing["candidate"], timing["control"])
        clock = timing["candidate"].wall_s / timing["control"].wall_s
        unit = self.weight.unit
        cost = Cost(unit.device_s * times.value, unit.wall_s * clock, unit.joule * times.value)
        return Weight(cost, (times.high - times.low) / 2 / times.value)


def weigh_control(call: Callable[[], object], batch: int, device: Device) -> Weight:
    """Weigh the control alone, at the pace the machine had when it was calibrated: a slow moment is taken out.

    The calls by which the pace is told are timed in turn with it. On a machine that was not calibrated, the figures are
    those of the moment.
    """
    timing = race({"control": call} | (yardsticks() if device.pace_s else {}))
    ours, share = timing["control"], 1 / (batch * pace(timing, device.pace_s))
    unit = Cost(ours.cpu_s * share, ours.wall_s * share, device.busy_w * ours.cpu_s * share)
    return Weight(unit, ours.width)


def one_call(session: Session, artifact: Artifact, x: NDArray[Any], batch: int) -> Callable[[], object]:
    """One call as a client would make it: `batch` rows of `x` (repeated if there are fewer), already in memory."""
    rows = np.resize(np.arange(len(x)), batch)
    body = np.ascontiguousarray(x[rows], dtype=np.dtype(artifact.facts["input_dtype"]))
    return lambda: session.predict(body)
