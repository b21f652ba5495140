"""Levers, fronts and answers that exist on paper only: small worlds in which the truth is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from pennyweight.core import (
    YES,
    Basis,
    Bill,
    Cost,
    DataSpec,
    Floor,
    Form,
    Front,
    Job,
    Kind,
    Lever,
    Op,
    Plan,
    Run,
    Score,
    Spec,
    Stage,
    Task,
    Verdict,
    Work,
    higher_is_better,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

RIGHT = 0.95
"""How often the control of `labelled` answers is right."""

SPEC = Spec(Form.MODULE, (Op("fc", Kind.LINEAR, 4, 2),), DataSpec(100, 16.0))
"""One linear layer."""

_TASKS = {"rmse": Task.REGRESS, "perplexity": Task.LANGUAGE}


class Paper(Lever):
    """A lever that fits everywhere and changes nothing, for others to inherit what does not matter to them."""

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "a simulation"

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Nothing to choose."""
        del job
        yield from ()

    def fits(self, spec: Spec) -> Verdict:
        """It always does."""
        del spec
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Nothing changes on paper."""
        return spec

    def pull(self, work: Work) -> Work:
        """Nothing changes for real."""
        return work


@dataclass(frozen=True, slots=True)
class Named(Paper):
    """A lever that is only a number."""

    number: int = 0


def paper_job(floor: Floor, name: str = "on_paper") -> Job:
    """A job of one layer whose task is that of the floor's metric."""
    task = _TASKS.get(floor.metric, Task.CLASSIFY)
    return Job(name, Spec(SPEC.form, SPEC.ops, DataSpec(100, 16.0, task)), floor)


def paper_front(floor: Floor, usd: Sequence[float], means: Sequence[float] | None = None) -> Front:
    """A control at one dollar and a run of `Named(i)` per entry of `usd`; by default the dearer, the better."""
    job, sign = paper_job(floor), 1 if higher_is_better(floor.metric) else -1

    def run(plan: Plan, price_usd: float, mean: float) -> Run:
        bill = Bill.of(Basis.MEASURED, serve=Cost(usd=price_usd))
        return Run(plan, bill, Score(floor.metric, mean, 0.01, 1000))

    front = Front.of(run(Plan(job), 1.0, 2.0 + sign))
    for number, price_usd in enumerate(usd):
        mean = means[number] if means else 2.0 + sign * price_usd
        front = front.add(run(Plan(job, (Named(number),)), price_usd, mean))
    return front


def number(run: Run) -> int | None:
    """The number of a run on a paper front, None for the control."""
    return next((lever.number for lever in run.plan.levers if isinstance(lever, Named)), None)


@dataclass(frozen=True)
class Split:
    """True answers `y`, and what the control (None) and the run of each number answer."""

    y: NDArray[Any]
    answers: Mapping[int | None, NDArray[Any]]
    groups: NDArray[Any] | None = None


@dataclass(frozen=True)
class Sheet:
    """What certification looks at: a select and a certify split, and of which runs it `asked` for fresh answers."""

    select: Split
    certify: Split
    asked: list[int | None] = field(default_factory=list)

    @property
    def y_select(self) -> NDArray[Any]:
        """True answers of the select split."""
        return self.select.y

    @property
    def y_certify(self) -> NDArray[Any]:
        """True answers of the certify split."""
        return self.certify.y

    @property
    def groups_select(self) -> NDArray[Any] | None:
        """Groups of the select split."""
        return self.select.groups

    @property
    def groups_certify(self) -> NDArray[Any] | None:
        """Groups of the certify split."""
        return self.certify.groups

    def seen(self, run: Run) -> NDArray[Any]:
        """What the run answers on the select split."""
        return self.select.answers[number(run)]

    def fresh(self, run: Run) -> NDArray[Any]:
        """What the run answers on the certify split."""
        self.asked.append(number(run))
        return self.certify.answers[number(run)]


def labelled(laws: Sequence[tuple[float, float]], n: int, generator: np.random.Generator) -> Split:
    """Draw `n` answers of a control that is right on `RIGHT` and of a run per (won, lost) share; the truth is 0."""
    wrong = generator.random(n) < 1 - RIGHT
    answers: dict[int | None, NDArray[Any]] = {None: wrong.astype(int)}
    for i, (won, lost) in enumerate(laws):
        chance = np.where(wrong, 1 - won / (1 - RIGHT), lost / RIGHT)  # of being wrong, given the control
        answers[i] = (generator.random(n) < chance).astype(int)
    return Split(np.zeros(n, dtype=int), answers)
