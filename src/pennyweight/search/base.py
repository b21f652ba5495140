"""What a search strategy is told and asked: the scope it starts from, ask() for the next plan, tell() its outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pennyweight.core import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pennyweight.core import Bill, Floor, Job, Lever, Run

    Steps = Generator[Plan, Run | None, None]

HOLDS = 0.5
"""A score whose chance of keeping the floor is at least this probably keeps it; only the certificate is sure."""

CLEAR = 0.05
"""A score whose chance of keeping the floor is at most this has clearly broken it."""


@dataclass(frozen=True)
class Scope:
    """What a search looks for and in: the job, the candidate settings, the predictor and the floor.

    `levers` are the settings worth trying, those of one lever class mildest first; `predict` gives the bill of a plan
    on paper, in no noticeable time; `seed` fixes every choice made by chance.
    """

    job: Job
    levers: tuple[Lever, ...]
    predict: Callable[[Plan], Bill]
    floor: Floor
    seed: int = 0

    @property
    def control(self) -> Plan:
        """The job done as asked."""
        return Plan(self.job, seed=self.seed)


class Strategy(ABC):
    """A search: `ask` for a plan, carry it out, `tell` the run, until `ask` returns None.

    A plan that was asked for and is not told before the next `ask` counts as one that cannot be carried out. Runs may
    be told that were never asked for (the control, runs of an earlier session): if the search comes to their plan, it
    takes the outcome and goes on. Equal tells give equal asks.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._told: dict[str, Run] = {}
        self._asked: set[str] = set()
        self._steps: Steps | None = None
        self._waiting: Plan | None = None

    @classmethod
    def start(cls, scope: Scope) -> Self:
        """Begin a search."""
        return cls(scope)

    @abstractmethod
    def steps(self) -> Steps:
        """The search as a generator: yield a plan, receive its run (None if it could not be carried out)."""

    def ask(self) -> Plan | None:
        """The next plan to carry out, None if the search is over."""
        try:
            plan = self._advance()
        except StopIteration:
            plan = None
        if plan is not None:
            self._asked.add(plan.key)
        self._waiting = plan
        return plan

    def _advance(self) -> Plan | None:
        """Go on to the next plan whose outcome is not known yet."""
        if self._steps is None:
            self._steps = self.steps()
            plan = next(self._steps)
        elif self._waiting is None:
            return None
        else:
            plan = self._steps.send(self._told.get(self._waiting.key))
        while plan.key in self._told or plan.key in self._asked:
            plan = self._steps.send(self._told.get(plan.key))
        return plan

    def tell(self, run: Run) -> None:
        """Report what a plan really cost and how good it is."""
        self._told[run.plan.key] = run
