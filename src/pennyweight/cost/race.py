"""Which of several ways is cheaper: timed in turn, round by round, with intervals that assume no distribution."""

from __future__ import annotations

import gc
import math
import random
import time
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from typing import TYPE_CHECKING

from pennyweight.cost.clock import process_s
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SAMPLE_S = 0.004
_WARM_S = 0.02
_FEWEST = 7  # rounds: below six, no pair of order statistics covers the median with 95%
_QUIET_S = 0.0015
_LOOKS = 150  # OpenBLAS spins for up to a tenth of a second
_BUSY_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call of one contender: medians over `rounds` samples.

    `cpu_s` sums all threads of the process; `low_s` and `high_s` bound its true median with 95%. `samples_s` are the
    CPU seconds per call of each round.
    """

    cpu_s: float
    wall_s: float
    low_s: float
    high_s: float
    rounds: int
    samples_s: tuple[float, ...] = ()

    @property
    def width(self) -> float:
        """Half the interval, as a share of the median."""
        return (self.high_s - self.low_s) / 2 / self.cpu_s if self.cpu_s else math.inf


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the CPU seconds of the second contender the first one takes, and a 95% interval."""

    value: float
    low: float
    high: float


def race(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 41,
    budget_s: float = 10.0,
    width: float = 0.01,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time every contender (a function of no arguments) in every round, in an order drawn anew for each round.

    After a warm-up, a sample repeats its call until it takes some milliseconds. Timing ends after `rounds` rounds, when
    every interval is narrower than `width` (half of it, as a share of the median; not before seven rounds), or when
    `budget_s` is spent (not before one round). The clock is the CPU time of ALL threads of the process, so nothing else
    may run in it; before each sample it waits for threads that still spin after the previous one. The garbage collector
    is held off.
    """
    if not contenders or rounds < 1:
        raise BadInputError("A race needs a contender and a round.", "give at least one of each.")
    until_s = time.perf_counter() + budget_s
    repeats = {name: _warm(call) for name, call in contenders.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    order, dice = list(contenders), random.Random(seed)  # ruff: ignore[suspicious-non-cryptographic-random-usage] - an order, not a secret
    was_on = gc.isenabled()
    gc.disable()
    try:
        for done in range(1, rounds + 1):
            dice.shuffle(order)
            for name in order:
                samples[name].append(_sample(contenders[name], repeats[name]))
            if time.perf_counter() > until_s or (done >= _FEWEST and _narrow(samples, width)):
                break
    finally:
        if was_on:
            gc.enable()
    return {name: _timing(found) for name, found in samples.items()}


def ratio(ours: Timing, theirs: Timing) -> Ratio:
    """CPU seconds of `ours` over those of `theirs`, paired by round, so that a slow moment slows both sides."""
    if len(ours.samples_s) != len(theirs.samples_s) or not ours.samples_s:
        raise BadInputError("The two did not run in the same race.", "time both in one call of race.")
    shares = [mine / other for mine, other in zip(ours.samples_s, theirs.samples_s, strict=True)]
    return Ratio(median(shares), *median_interval(shares))


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Bounds on the median of what `values` are drawn from, whatever its distribution.

    The k-th smallest and k-th largest of n values enclose the median with probability ``1 - 2 P(B < k)``, B binomial
    with n trials and chance 1/2; k is the largest that keeps `confidence`. Where none does (95%: n < 6) the bounds are
    the extremes, and cover less.
    """
    ordered, n = sorted(values), len(values)
    below, k = 0.0, 0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if 1 - 2 * below < confidence:
            break
        k += 1
    rank = max(k - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


def _warm(call: Callable[[], object]) -> int:
    """Call until it is warm; return how many calls make a sample, judged by the fastest."""
    fastest_s, calls, until_s = math.inf, 0, time.perf_counter() + _WARM_S
    while True:
        before_s = time.perf_counter()
        call()
        now_s = time.perf_counter()
        fastest_s, calls = min(fastest_s, now_s - before_s), calls + 1
        if now_s >= until_s and calls > 2:
            return max(1, math.ceil(_SAMPLE_S / max(fastest_s, 1e-8)))


def _sample(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """CPU and wall seconds per call, after one call that is not timed."""
    _settle()
    call()
    cpu_s, wall_s = process_s(), time.perf_counter()
    for _ in repeat(None, repeats):
        call()
    return (process_s() - cpu_s) / repeats, (time.perf_counter() - wall_s) / repeats


def _settle() -> None:
    """Wait until no thread of the process is busy: pools of threads spin on for a while after their work is done.

    One quiet look is not enough: a spinning thread may just have lost its core to another process.
    """
    quiet = 0
    for _ in range(_LOOKS):
        before_s = process_s()
        time.sleep(_QUIET_S)
        quiet = quiet + 1 if process_s() - before_s < _BUSY_SHARE * _QUIET_S else 0
        if quiet > 1:
            return


def _narrow(samples: Mapping[str, list[tuple[float, float]]], width: float) -> bool:
    return all(_timing(found).width <= width for found in samples.values())


def _timing(found: list[tuple[float, float]]) -> Timing:
    cpu = tuple(cpu_s for cpu_s, _ in found)
    return Timing(median(cpu), median(wall_s for _, wall_s in found), *median_interval(cpu), len(found), cpu)
