"""The control and the runs that nothing beats."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pennyweight.core.bill import Basis, Phase
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core.bill import Bill
    from pennyweight.core.certificate import Certificate
    from pennyweight.core.run import Run
    from pennyweight.core.score import Floor


@dataclass(frozen=True, slots=True)
class Front:
    """The control (the job done as asked) and the runs that nothing beats.

    `seen` keeps every run, in order; `certificate` and `spent` (the bill of the search itself) are set once the search
    is over.
    """

    control: Run
    seen: tuple[Run, ...]
    certificate: Certificate | None = None
    spent: Bill | None = None

    @classmethod
    def of(cls, control: Run) -> Self:
        """Start a front; there is none without a control."""
        if not control.plan.is_control:
            raise BadInputError("A front starts from the job as asked.", "measure the plan without levers first.")
        return cls(control, (control,))

    def add(self, run: Run) -> Self:
        """Return the front with one more run; runs of another job, basis or metric are refused."""
        if run.bill.basis is not self.control.bill.basis:
            raise BadInputError(
                f"A {run.bill.basis.value} run has no place on a {self.control.bill.basis.value} front.",
                "measure both, or predict both.",
            )
        if run.plan.job != self.control.plan.job or run.score.metric != self.control.score.metric:
            raise BadInputError("A front holds one job under one metric.", "make a front for each job.")
        return replace(self, seen=(*self.seen, run))

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs on full data that no other beats, cheapest first. O(n²) in the runs seen."""
        full = [run for run in self.seen if run.plan.fidelity >= 1]
        best = [run for run in full if not any(other.beats(run) for other in full)]
        return tuple(sorted(best, key=lambda run: run.bill.usd))

    def best(self, floor: Floor) -> Run:
        """The cheapest run whose score holds the floor on the select split, the control if none does."""
        held = [run for run in self.runs if floor.holds(run.score, self.control.score)]
        return min(held, key=lambda run: run.bill.usd, default=self.control)

    @property
    def winner(self) -> Run:
        """The certified run, the control as long as there is none."""
        return self.control if self.certificate is None else self.certificate.run

    def break_even(self) -> float:
        """Predictions after which the search has paid for itself; infinite if the winner saves nothing per prediction.

        The horizon's fixed costs (training, compressing, storing) of winner and control count as well.
        """
        saved_usd = self.control.bill.unit.usd - self.winner.bill.unit.usd
        if saved_usd <= 0:
            return math.inf
        fixed_usd = [run.bill.usd - run.bill.line(Phase.SERVE).usd for run in (self.winner, self.control)]
        found_usd = self.spent.usd if self.spent else 0.0
        return max(0.0, (found_usd + fixed_usd[0] - fixed_usd[1]) / saved_usd)

    @property
    def measured(self) -> bool:
        """Whether the bills on it are measured."""
        return self.control.bill.basis is Basis.MEASURED
