"""When to stop a training: the floor is surely reached, surely out of reach, or the budget is about to end."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, final

from pennyweight.control.curves import LEAST_POINTS, Curve, Outlook
from pennyweight.control.earlier import Earlier
from pennyweight.control.pacing import Pacer, Range
from pennyweight.units import percent, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Callable

_NORMAL = NormalDist()
_BLIND = 0.05  # the share of a budget kept back while what it must pay for at the end is unknown
_MARGIN = 1.5  # on the dearest ending seen, for the last one
_AGAIN = 2  # looks in a row that must say so before hope is given up


class Why(StrEnum):
    """What ends a training before its last step."""

    REACHED = "reached"
    HOPELESS = "hopeless"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Tick:
    """What is known after `step` steps: spent in all (`usd`, `wall_s`), the batch's loss, and the score if judged now.

    `score_se` is the standard error of that score, 0 if it is not known.
    """

    step: int
    usd: float
    wall_s: float
    loss: float
    score: float | None = None
    score_se: float = 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What a training of at most `steps` steps is for: a score of `target` (None: only to be trained), for how much.

    `rises` says that a higher score is better; `sure` is how sure one must be to stop for the score's sake.
    """

    steps: int
    target: float | None = None
    rises: bool = True
    usd: float = math.inf
    wall_s: float = math.inf
    sure: float = 0.95


@dataclass(frozen=True, slots=True)
class Decision:
    """A reason to stop at a step, with the numbers it rests on; `facts()` is how the ledger keeps it."""

    why: Why
    step: int
    reason: str
    numbers: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "why": self.why.value}


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is foreseen of the rest of a training: dollars and seconds to its last step, and the score there."""

    usd: Range
    wall_s: Range
    score: Range | None
    chance: float | None


@final
class Governor:
    """Watches one training and says when it must stop: `tell` it every step, and what an ending costs (`reserve`).

    `effort` turns steps into what they are worth under the learning-rate schedule; `earlier` is what earlier runs
    taught. The rules look at the score as often as it is judged; a floor that must hold with a known risk is certified
    afterwards, on rows that no rule looked at.
    """

    def __init__(
        self, goal: Goal, *, earlier: Earlier | None = None, effort: Callable[[float], float] | None = None
    ) -> None:
        self.goal = goal
        self._earlier, self._effort = earlier or Earlier(), effort or float
        self._usd, self._wall_s = Pacer(), Pacer()
        self._ending: tuple[float, float] | None = None
        self._points: list[tuple[float, float, float]] = []
        self._last = Tick(0, 0.0, 0.0, math.nan)
        self._hopeless = 0

    def reserve(self, usd: float, wall_s: float) -> None:
        """Say what an ending (judging the model once, writing its checkpoint) took; the dearest counts."""
        before = self._ending or (0.0, 0.0)
        self._ending = (max(before[0], usd), max(before[1], wall_s))
        self._usd.aside(usd)
        self._wall_s.aside(wall_s)

    def tell(self, tick: Tick) -> Decision | None:
        """Take in a step; returns why to stop now, None to go on.

        A tick of the same step again brings the score of that step.
        """
        self._usd.add(tick.step, tick.usd)
        self._wall_s.add(tick.step, tick.wall_s)
        self._last = tick
        spent = self._over(tick)
        if tick.score is None or not math.isfinite(tick.score):
            return spent
        at = self._effort(tick.step)
        if self._points and self._points[-1][0] >= at:
            self._points.pop()
        self._points.append((at, tick.score, tick.score_se))
        return spent or self._reached(tick) or self._given_up(tick)

    def outlook(self) -> Outlook | None:
        """Where the score is going; None until it was judged four times."""
        if len(self._points) < LEAST_POINTS:
            return None
        x, y, se = zip(*self._points, strict=True)
        curve = Curve.of(x, y, se if any(se) else (), rises=self.goal.rises)
        return self._earlier.outlook(curve, self._effort(self.goal.steps))

    @property
    def curve(self) -> Curve | None:
        """The scores so far against what the steps were worth, as `earlier.note_of` keeps them; None without any."""
        if not self._points:
            return None
        x, y, se = zip(*self._points, strict=True)
        return Curve.of(x, y, se if any(se) else (), rises=self.goal.rises)

    def ahead(self) -> Ahead:
        """What the rest will take, and where it leads."""
        left = self.goal.steps - self._last.step
        outlook, end = self.outlook(), self._effort(self._reachable())
        score = None
        if outlook is not None:
            found = outlook.forecast(end)
            score = Range(found.mean, found.low, found.high)
        target = self.goal.target
        chance = outlook.chance(target, end) if outlook is not None and target is not None else None
        return Ahead(self._usd.ahead(left), self._wall_s.ahead(left), score, chance)

    def _over(self, tick: Tick) -> Decision | None:
        """Stop before the step after which the ending could not be paid for any more."""
        limits = (("usd", self.goal.usd, tick.usd, self._usd), ("wall_s", self.goal.wall_s, tick.wall_s, self._wall_s))
        for at, (name, limit, spent, pacer) in enumerate(limits):
            if not math.isfinite(limit):
                continue
            ending = _BLIND * limit if self._ending is None else _MARGIN * self._ending[at]
            step = pacer.next_high()
            if spent + step + ending > limit:
                show = usd if name == "usd" else seconds
                reason = (
                    f"{show(spent)} of {show(limit)} is spent; the next step may take {show(step)}, and judging and "
                    f"keeping the model {show(ending)}."
                )
                return Decision(Why.BUDGET, tick.step, reason, {"spent": spent, "step": step, "ending": ending})
        return None

    def _reached(self, tick: Tick) -> Decision | None:
        target, score = self.goal.target, tick.score
        if target is None or score is None or (score < target if self.goal.rises else score > target):
            return None
        gap = abs(score - target)
        sure = _NORMAL.cdf(gap / tick.score_se) if tick.score_se > 0 else 1.0
        outlook = self.outlook()
        if outlook is not None:
            sure = min(sure, outlook.chance_at(target, self._points[-1][0], tick.score_se))
        if sure < self.goal.sure:
            return None
        reason = f"The score is {score:.4g}; {target:.4g} was asked for, and it is {percent(sure, 1)} sure to be met."
        return Decision(Why.REACHED, tick.step, reason, {"score": score, "target": target, "sure": sure})

    def _given_up(self, tick: Tick) -> Decision | None:
        target, outlook = self.goal.target, self.outlook()
        if target is None or outlook is None:
            return None
        within = self._reachable()
        slack = 2 * tick.score_se * (-1 if self.goal.rises else 1)  # all scores may be off together
        chance = outlook.chance(target + slack, self._effort(within))
        self._hopeless = self._hopeless + 1 if chance < 1 - self.goal.sure else 0
        if self._hopeless < _AGAIN:
            return None
        found = outlook.forecast(self._effort(within))
        reason = (
            f"{target:.4g} is out of reach: after {within:.0f} steps, all that steps and budget allow, the score would "
            f"be {found.mean:.4g} ({found.low:.4g} to {found.high:.4g}); the chance is {percent(chance, 1)}."
        )
        numbers = {"target": target, "chance": chance, "mean": found.mean, "low": found.low, "high": found.high}
        return Decision(Why.HOPELESS, tick.step, reason, numbers)

    def _reachable(self) -> float:
        """The last step that steps and budget allow, if the steps to come are as cheap as they may be."""
        most = float(self.goal.steps)
        limits = ((self.goal.usd, self._last.usd, self._usd), (self.goal.wall_s, self._last.wall_s, self._wall_s))
        for limit, spent, pacer in limits:
            if math.isfinite(limit) and pacer.known and (each := pacer.ahead(1000).low / 1000) > 0:
                most = min(most, self._last.step + max(0.0, limit - spent) / each)
        return most
