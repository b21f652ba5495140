"""Budgets that bind, and the rule that ends a search whose next trial costs more than it can still save."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from pennyweight.core import YES, Cost, Limits, Verdict, no
from pennyweight.errors import OverBudgetError
from pennyweight.units import percent, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core import Bill

_NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Left:
    """What may still be spent; infinite where nothing was limited, never below zero."""

    usd: float
    wall_s: float
    trials: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a search and what it has spent so far; dollars, wall time and trials all bind."""

    limits: Limits
    spent: Cost = _NOTHING
    trials: int = 0

    @classmethod
    def afford(cls, limits: Limits, control: Cost) -> Budget:
        """A fresh budget; raises `OverBudgetError` if not even the control, expected to cost so much, fits in it."""
        budget = cls(limits)
        verdict = budget.allows(control)
        if not verdict:
            raise OverBudgetError(
                f"The budget is too small for even the control. {verdict.reason}",
                f"allow at least {usd(control.usd)} and {seconds(control.wall_s)}, better several times as much.",
            )
        return budget

    def spend(self, cost: Cost, trials: int = 1) -> Budget:
        """The budget after `trials` more trials that cost so much together."""
        return replace(self, spent=self.spent + cost, trials=self.trials + trials)

    def left(self) -> Left:
        """What may still be spent."""
        limits = self.limits
        return Left(
            _rest(limits.usd, self.spent.usd),
            _rest(limits.wall_s, self.spent.wall_s),
            _rest(limits.trials, self.trials),
        )

    def allows(self, next_expected: Cost) -> Verdict:
        """Whether one more trial, expected to cost so much, stays within every limit; if not, which one it breaks."""
        left = self.left()
        if left.trials < 1:
            return no(f"All {self.limits.trials} trials are used.")
        if next_expected.usd > left.usd or left.usd <= 0:
            return no(
                f"The next trial is expected to cost {usd(next_expected.usd)}, {usd(left.usd)} of "
                f"{usd(self.limits.usd or 0)} is left."
            )
        if next_expected.wall_s > left.wall_s or left.wall_s <= 0:
            return no(
                f"The next trial is expected to take {seconds(next_expected.wall_s)}, {seconds(left.wall_s)} of "
                f"{seconds(self.limits.wall_s or 0)} is left."
            )
        return YES


@dataclass(frozen=True, slots=True)
class Prospect:
    """A plan not yet tried: its predicted bill, the chance that it keeps the floor, and what trying it would cost."""

    bill: Bill
    chance: float
    effort: Cost

    def gain_usd(self, best: Bill) -> float:
        """The dollars it is expected to save beside the `best` plan so far, whose bill is predicted too."""
        return self.chance * best.expected_saving_usd(self.bill)


def worth(best: Bill, prospects: Iterable[Prospect]) -> Verdict:
    """Whether any prospect is expected to save more than trying it costs; the reason says what was weighed.

    `best` is the predicted bill of the best plan so far. The saving is that over the whole horizon, times the chance
    that the floor holds (Mockus 1978: expected improvement, here against its price).
    """
    offers = [(each.gain_usd(best) - each.effort.usd, each) for each in prospects]
    if not offers:
        return no("No plan is left to try.")
    _, most = max(offers, key=itemgetter(0))
    gain_usd = most.gain_usd(best)
    weighed = (
        f"the most promising plan is expected to save {usd(gain_usd)} "
        f"({usd(best.expected_saving_usd(most.bill))}, if the floor holds: {percent(most.chance, 0)} likely) "
        f"and to cost {usd(most.effort.usd)} to try."
    )
    if gain_usd > most.effort.usd:
        return Verdict(ok=True, reason=f"Worth a trial: {weighed}")
    return no(f"Not worth a trial: {weighed}")


def _rest(limit: float | None, spent: float) -> float:
    return math.inf if limit is None else max(0.0, limit - spent)
