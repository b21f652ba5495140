"""What a person should hear about while a training runs: loss spikes, budgets nearly spent, quality that falls."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, final

from pennyweight.train.spikes import Spikes
from pennyweight.units import percent, seconds, usd

if TYPE_CHECKING:
    from pennyweight.control.halting import Goal, Tick

_NEARLY = 0.8
_IN_A_ROW = 3
_CLEAR = 2.0  # standard errors below the best


class Kind(StrEnum):
    """What an alert is about."""

    SPIKE = "spike"
    BUDGET = "budget"
    FALLING = "falling"


@dataclass(frozen=True, slots=True)
class Alert:
    """What happened at a step, in words and as a number."""

    kind: Kind
    step: int
    text: str
    value: float

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "kind": self.kind.value}


@final
class Alerts:
    """Watches the ticks of one training for what a person should know; each kind is told again only after it ended."""

    def __init__(self, goal: Goal) -> None:
        self._goal, self._spikes = goal, Spikes()
        self._best: float | None = None
        self._worse = 0
        self._told: set[str] = set()

    def tell(self, tick: Tick) -> list[Alert]:
        """What is worth telling after a step."""
        return [each for each in (self._spike(tick), *self._budgets(tick), self._falling(tick)) if each is not None]

    def _spike(self, tick: Tick) -> Alert | None:
        if tick.score is not None or math.isnan(tick.loss):  # the same step's loss was told before its score
            return None
        height = self._spikes.height(tick.loss)
        if not self._first("spike", now=height > self._spikes.limit):
            return None
        text = f"The loss jumped to {tick.loss:.4g}, {height:.0f} times its usual scatter above the last steps."
        return Alert(Kind.SPIKE, tick.step, text, tick.loss)

    def _budgets(self, tick: Tick) -> list[Alert | None]:
        limits = (("dollars", self._goal.usd, tick.usd, usd), ("time", self._goal.wall_s, tick.wall_s, seconds))
        return [
            Alert(
                Kind.BUDGET,
                tick.step,
                f"{percent(spent / limit, 0)} of the {name} is spent: {show(spent)} of {show(limit)}.",
                spent / limit,
            )
            if self._first(name, now=spent >= _NEARLY * limit)
            else None
            for name, limit, spent, show in limits
            if math.isfinite(limit)
        ]

    def _falling(self, tick: Tick) -> Alert | None:
        if tick.score is None:
            return None
        score = tick.score if self._goal.rises else -tick.score
        if self._best is None or score > self._best:
            self._best = score
        gap = self._best - score
        self._worse = self._worse + 1 if gap > max(_CLEAR * tick.score_se, 1e-3 * abs(self._best)) else 0
        if not self._first("falling", now=self._worse >= _IN_A_ROW):
            return None
        best = self._best if self._goal.rises else -self._best
        text = f"The score is {tick.score:.4g}, worse than its best, {best:.4g}, {self._worse} times in a row."
        return Alert(Kind.FALLING, tick.step, text, tick.score)

    def _first(self, what: str, *, now: bool) -> bool:
        """Whether this is so now and was not before."""
        if not now:
            self._told.discard(what)
            return False
        new = what not in self._told
        self._told.add(what)
        return new
