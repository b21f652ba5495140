"""A plan carried out: what it really cost and how good it really is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pennyweight.core.bill import Bill
    from pennyweight.core.plan import Plan
    from pennyweight.core.score import Score
    from pennyweight.core.spec import Spec


@dataclass(frozen=True, slots=True)
class Run:
    """A plan, what it really cost and how good the answer is on the select split.

    `predicted` is the bill foreseen before it ran; `spec` is what really ran; `artifact` names the finished model by
    content (empty if none was kept); `others` are further metrics, for choosing by several measures at once.
    """

    plan: Plan
    bill: Bill
    score: Score
    predicted: Bill | None = None
    spec: Spec | None = None
    artifact: str = ""
    others: tuple[Score, ...] = ()

    def beats(self, other: Run) -> bool:
        """Whether this run costs no more and is no worse than `other`, and is better in one of the two."""
        sign = 1 if self.score.higher_is_better else -1
        quality, theirs = sign * self.score.mean, sign * other.score.mean
        no_worse = self.bill <= other.bill and quality >= theirs
        return no_worse and (self.bill < other.bill or quality > theirs)
