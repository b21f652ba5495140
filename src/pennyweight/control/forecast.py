"""What the next trial will take and how likely it keeps the floor, from the trials made so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from pennyweight.core import Cost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core import Floor, Lever, Plan, Run, Score

_HOLD, _BREAK = 2.0, 1.0  # trials that every lever is taken to have behind it: two held the floor, one broke it
_OTHER_SETTING = 0.5  # what a trial of another setting of the same lever says, against one of this setting
_HALF = 0.5


def chance(plan: Plan, runs: Iterable[Run], floor: Floor, control: Score) -> float:
    """How likely `plan` keeps the floor, judged by the full runs made so far.

    Every lever has a rate of holding (a Beta mean; a broken floor is blamed on the levers of its plan in equal parts)
    and the rates multiply. A plan is at least as likely to hold as one with more levers, and at most as likely as one
    with fewer.
    """
    tried = [(run.plan.levers, floor.chance(run.score, control)) for run in runs if run.plan.fidelity >= 1]
    tried = [(levers, held) for levers, held in tried if levers]
    guess = 1.0
    for lever in plan.levers:
        guess *= _rate(lever, tried)
    mine = set(plan.levers)
    least = max((held for levers, held in tried if mine <= set(levers) and held >= _HALF), default=0.0)
    most = min((held for levers, held in tried if set(levers) <= mine and held < _HALF), default=1.0)
    return min(max(guess, least), most)


def _rate(lever: Lever, tried: Iterable[tuple[tuple[Lever, ...], float]]) -> float:
    hold, broke = _HOLD, _BREAK
    for levers, held in tried:
        alike = [1.0 if each == lever else _OTHER_SETTING for each in levers if type(each) is type(lever)]
        weight = max(alike, default=0.0)
        hold += weight * held
        broke += weight * (1 - held) / len(levers)
    return hold / (hold + broke)


@dataclass(frozen=True, slots=True)
class Pace:
    """How much more than foreseen the trials so far took; what the predictor does not see, such as measuring."""

    extra: tuple[Cost, ...] = ()

    def learn(self, foreseen: Cost, real: Cost) -> Pace:
        """The pace after one more trial."""
        return replace(self, extra=(*self.extra, real + foreseen * -1))

    def expect(self, foreseen: Cost) -> Cost:
        """What a trial will take: what is foreseen and the median of what came on top, never less than nothing."""
        if not self.extra:
            return foreseen
        return Cost(
            *(
                max(0.0, getattr(foreseen, name) + median(getattr(each, name) for each in self.extra))
                for name in ("device_s", "wall_s", "joule", "usd")
            )
        )
