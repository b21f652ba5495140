"""Weigh a finished model: its cost per prediction, control and candidate in turn, in the runtime that will serve it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Cost
from pennyweight.cost.pace import pace, yardsticks
from pennyweight.cost.race import race, ratio
from pennyweight.runtimes.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.catalog import Device
    from pennyweight.core import Artifact, ServeSpec, Session

_MOST_REQUESTS = 50  # in one call, so that a share of them can be hits
_CALLS = 256  # with different rows, before the first come again


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

    def weigh(self, candidate: Callable[[], object], share: float = 1.0) -> Weight:
        """Weigh `candidate`, one call, against the control, whose call makes the `share` of its predictions."""
        timing = race({"control": self.control, "candidate": candidate})
        times = ratio(timing["candidate"], timing["control"])
        clock = share * timing["candidate"].wall_s / timing["control"].wall_s
        unit, value = self.weight.unit, share * times.value
        cost = Cost(unit.device_s * value, unit.wall_s * clock, unit.joule * value)
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


def one_call(
    session: Session, artifact: Artifact, x: NDArray[Any], batch: int, *, differing: bool = False
) -> Callable[[], object]:
    """One call as a client would make it: `batch` rows of `x` (repeated if there are fewer), already in memory.

    Where what a row costs is `differing` from row to row, each call has the next rows, over and over again.
    """
    calls = max(1, min(_CALLS, len(x) // batch)) if differing else 1
    rows = np.resize(np.arange(len(x)), (calls, batch))
    bodies = np.ascontiguousarray(x[rows], dtype=np.dtype(artifact.facts["input_dtype"]))
    if calls == 1:
        body = bodies[0]
        return lambda: session.predict(body)
    turns = cycle(bodies)
    return lambda: session.predict(next(turns))


def kept_calls(
    session: Session, artifact: Artifact, x: NDArray[Any], serve: ServeSpec
) -> tuple[Callable[[], object], int]:
    """Several requests as one call, and how many: the share `serve.hits` of them is answered by what is kept.

    The others are looked up in vain, computed and kept, as a server does it; then they are forgotten, to be asked anew.
    """
    part = Fraction(serve.hits).limit_denominator(_MOST_REQUESTS)
    hits, misses = part.numerator, part.denominator - part.numerator
    full, empty = (Kept(serve.batch, serve.grid) for _ in range(2))
    rows = np.resize(np.arange(len(x)), serve.batch)
    body = np.ascontiguousarray(x[rows], dtype=np.dtype(artifact.facts["input_dtype"]))
    full.keep(body, session.predict(body))

    def ask() -> None:
        for _ in range(hits):
            full.find(body)
        for _ in range(misses):
            if empty.find(body) is None:
                empty.keep(body, session.predict(body))
            empty.forget(body)

    return ask, part.denominator
