"""What the seconds of a training went into: data, forward, backward, optimiser, communication and the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, final

from pennyweight.cost.clock import process_s

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL_STEPS = 64  # these are timed one and all; of later ones every 7th, a number that shares no rhythm with batches
_EVERY = 7


class Part(StrEnum):
    """What a stretch of training is spent on; OTHER is what no mark covers, such as setting up.

    WORKERS is what other processes spent that this one has started.
    """

    DATA = "data"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMISER = "optimiser"
    COMMUNICATION = "communication"
    EVALUATION = "evaluation"
    CHECKPOINT = "checkpoint"
    OTHER = "other"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class Took:
    """CPU seconds of all threads, and seconds on the clock."""

    cpu_s: float = 0.0
    wall_s: float = 0.0

    def __add__(self, other: Took) -> Took:
        return Took(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)

    def __sub__(self, other: Took) -> Took:
        return Took(max(0.0, self.cpu_s - other.cpu_s), max(0.0, self.wall_s - other.wall_s))

    def __mul__(self, times: float) -> Took:
        return Took(self.cpu_s * times, self.wall_s * times)


_NOTHING = Took()


@final
class Clock:
    """Times the parts of a training; it starts when it is made.

    The loop calls `begin` before a step and `mark(part)` after each part of it: what passed since the mark before
    belongs to that part. After the first 64 steps only every seventh is read, so that reading costs far below a
    percent of even the smallest step; `counted` scales these up to what all steps took. `aside` times what happens
    between steps, every time. `elsewhere_s` are CPU seconds of other processes that train for this one, if it has
    started any, as far as they have told; they are not in what is counted here.
    """

    def __init__(self) -> None:
        self._sampled: dict[Part, list[float]] = {part: [0.0, 0.0] for part in Part}
        self._exact: dict[Part, Took] = {}
        self.elsewhere_s = 0.0
        self._steps = 0
        self._weight = 0
        self._cpu_s = self._wall_s = 0.0
        self._opened = Took(process_s(), time.perf_counter())

    def begin(self) -> None:
        """Say that a step begins."""
        self._steps += 1
        self._weight = 1 if self._steps <= _ALL_STEPS else _EVERY * (self._steps % _EVERY == 0)
        if self._weight:
            self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def mark(self, part: Part) -> None:
        """Say that `part` of the step ends here."""
        if self._weight:
            cpu_s, wall_s, sums = time.process_time(), time.perf_counter(), self._sampled[part]
            sums[0] += (cpu_s - self._cpu_s) * self._weight
            sums[1] += (wall_s - self._wall_s) * self._weight
            self._cpu_s, self._wall_s = cpu_s, wall_s

    def aside(self, part: Part) -> Aside:
        """Time what happens in a with block and is no part of a step."""
        return Aside(self._exact, part)

    @property
    def total(self) -> Took:
        """What passed since the clock was made."""
        return Took(process_s(), time.perf_counter()) - self._opened

    def counted(self) -> Mapping[Part, Took]:
        """What each part took so far; they add up to `total`."""
        total = self.total
        exact = sum(self._exact.values(), _NOTHING)
        rest = total - exact
        sampled = {part: Took(*sums) for part, sums in self._sampled.items() if sums[1]}
        whole = sum(sampled.values(), _NOTHING)
        fit_cpu = min(1.0, rest.cpu_s / whole.cpu_s) if whole.cpu_s else 1.0
        fit_wall = min(1.0, rest.wall_s / whole.wall_s) if whole.wall_s else 1.0
        found = {part: Took(took.cpu_s * fit_cpu, took.wall_s * fit_wall) for part, took in sampled.items()}
        for part, took in self._exact.items():
            found[part] = found.get(part, _NOTHING) + took
        found[Part.OTHER] = total - sum(found.values(), _NOTHING)
        return {part: found[part] for part in Part if part in found}


@final
class Aside:
    """A stretch between steps that is being timed."""

    def __init__(self, sums: dict[Part, Took], part: Part) -> None:
        self._sums, self._part = sums, part

    def __enter__(self) -> None:
        self._at = _now()

    def __exit__(self, *_: object) -> None:
        self._sums[self._part] = self._sums.get(self._part, _NOTHING) + (_now() - self._at)


def _now() -> Took:
    return Took(time.process_time(), time.perf_counter())
