"""What the world charges for work, how we know it, and how far it may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, StrEnum
from statistics import NormalDist

from pennyweight.errors import BadInputError

_NORMAL = NormalDist()
_HALF_WIDTH = _NORMAL.inv_cdf(0.975)  # of a 95% interval, in standard deviations


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a device in use (`device_s`; CPU core seconds on a CPU), seconds on the clock, joules and dollars."""

    device_s: float = 0.0
    wall_s: float = 0.0
    joule: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Do one thing, then the other."""
        return Cost(
            self.device_s + other.device_s,
            self.wall_s + other.wall_s,
            self.joule + other.joule,
            self.usd + other.usd,
        )

    def __or__(self, other: Cost) -> Cost:
        """Do both at the same time: everything adds up but the clock."""
        return Cost(
            self.device_s + other.device_s,
            max(self.wall_s, other.wall_s),
            self.joule + other.joule,
            self.usd + other.usd,
        )

    def __mul__(self, times: float) -> Cost:
        """Do it again, `times` times in all."""
        return Cost(self.device_s * times, self.wall_s * times, self.joule * times, self.usd * times)

    __rmul__ = __mul__


class Basis(Enum):
    """How a bill is known. Bills of different basis are never compared or added."""

    PREDICTED = "predicted"
    SIMULATED = "simulated"
    MEASURED = "measured"


class Phase(StrEnum):
    """What the money went into."""

    FIND = "find"
    TRAIN = "train"
    COMPRESS = "compress"
    SERVE = "serve"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class Bill:
    """The cost of one plan over the job's horizon, line by line.

    `lines` hold at most one `Cost` per `Phase`, in phase order. `error` is the relative half-width of a 95% interval
    of the total (0.1: the truth is within 10%). `unit` is the cost of serving one prediction.
    """

    basis: Basis
    lines: tuple[tuple[Phase, Cost], ...] = ()
    error: float = 0.0
    unit: Cost = Cost()

    @classmethod
    def of(cls, basis: Basis, *, error: float = 0.0, unit: Cost | None = None, **phases: Cost) -> Bill:
        """Build a bill from one keyword per phase: ``Bill.of(Basis.MEASURED, train=Cost(...), serve=Cost(...))``."""
        lines = tuple((phase, phases[phase.value]) for phase in Phase if phase.value in phases)
        if len(lines) != len(phases):
            raise BadInputError(f"A bill has no phase among {sorted(phases)}.", f"use {', '.join(Phase)}.")
        return cls(basis, lines, error, unit or Cost())

    @property
    def total(self) -> Cost:
        """The sum of all lines."""
        return sum((cost for _, cost in self.lines), Cost())

    @property
    def usd(self) -> float:
        """Total dollars over the horizon: the objective."""
        return sum(cost.usd for _, cost in self.lines)

    def line(self, phase: Phase) -> Cost:
        """The cost of one phase, nothing if it does not occur."""
        return dict(self.lines).get(phase, Cost())

    def expected_saving_usd(self, other: Bill) -> float:
        """Dollars that paying `other` instead is expected to save, not doing so if it turns out dearer.

        The expected improvement, E[max(0, this - other)], of two independent normal totals with 95% half-widths
        `error` (Jones, Schonlau, Welch 1998). Raises `BadInputError` for bills of different basis.
        """
        self._same_basis(other)
        gap = self.usd - other.usd
        spread = math.hypot(self.error * self.usd, other.error * other.usd) / _HALF_WIDTH
        if spread == 0 or not math.isfinite(spread):
            return max(0.0, gap)
        return gap * _NORMAL.cdf(gap / spread) + spread * _NORMAL.pdf(gap / spread)

    def __add__(self, other: Bill) -> Bill:
        self._same_basis(other)
        lines = tuple(
            (phase, self.line(phase) + other.line(phase))
            for phase in Phase
            if phase in dict(self.lines) or phase in dict(other.lines)
        )
        whole = self.usd + other.usd
        error = (self.error * self.usd + other.error * other.usd) / whole if whole else max(self.error, other.error)
        return Bill(self.basis, lines, error, self.unit + other.unit)

    def __lt__(self, other: Bill) -> bool:
        self._same_basis(other)
        return self.usd < other.usd

    def __le__(self, other: Bill) -> bool:
        self._same_basis(other)
        return self.usd <= other.usd

    def _same_basis(self, other: Bill) -> None:
        if self.basis is not other.basis:
            raise BadInputError(
                f"A {self.basis.value} bill and a {other.basis.value} one cannot be compared or added.",
                "measure both, or predict both.",
            )
