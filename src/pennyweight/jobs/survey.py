"""What can be known about a job's data before any money is spent on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.data.balance import Balance
from pennyweight.data.parts import Leak, Part, leaks, parts
from pennyweight.jobs.power import Power, power
from pennyweight.units import percent

if TYPE_CHECKING:
    from pennyweight.core import Floor, Job, Task
    from pennyweight.data.splits import Splits


@dataclass(frozen=True, slots=True)
class Survey:
    """The three splits of a job and what they have in common, what they can prove, and what to do about it.

    `answers` is how many different answers the model can give (0: values); `weighted` says that training rows have
    weights.
    """

    job: str
    task: Task
    floor: Floor
    parts: tuple[Part, ...]
    leaks: tuple[Leak, ...]
    power: Power
    answers: int
    weighted: bool

    @property
    def alarms(self) -> tuple[str, ...]:
        """What makes every score of this job untrue, each with the fix."""
        return tuple(_alarm(leak) for leak in self.leaks)

    @property
    def advice(self) -> tuple[str, ...]:
        """What could be better, each with what to do about it."""
        said = [*self._about_classes(), *self._about_rows()]
        if self.power.likely is not None and self.power.n < self.power.likely:
            said.append(
                f"{self.power.n} {self.power.unit} to certify are few for this floor: good candidates will often fail "
                "its test. Give the certify split more of the data (shares=), or give up more quality."
            )
        return tuple(said)

    def _about_classes(self) -> list[str]:
        train, *others = self.parts
        if not isinstance(train.answers, Balance):
            return []
        advice = train.answers.advise(self.floor.metric, weighted=self.weighted)
        said = [advice] if advice else []
        if unseen := self.answers - len(train.answers.classes):
            said.append(f"The model knows {self.answers} classes, but {unseen} of them never occur in training.")
        for part in others:
            known = part.answers.classes if isinstance(part.answers, Balance) else ()
            if missing := [str(name) for name in train.answers.classes if name not in known]:
                said.append(
                    f"The {part.name} split has no row of class {', '.join(missing[:8])}: how well it is answered "
                    "stays unknown. Deal the data with stratify=True, or give more."
                )
        return said

    def _about_rows(self) -> list[str]:
        train, said = self.parts[0], []
        if train.missing:
            said.append(
                f"{train.missing} of {train.rows} training rows hold NaN or infinity: the clean lever drops them."
            )
        if train.doubled:
            share = percent(train.doubled / train.rows, 1)
            said.append(f"{share} of the training rows are copies of others: the dedup lever trains on one of each.")
        return said


def survey(job: Job) -> Survey:
    """Look at the data of `job` as it will be trained, selected and certified on; nothing is trained."""
    splits: Splits = job.material.splits
    data = job.spec.data
    return Survey(
        job.name,
        data.task,
        job.floor,
        parts(splits, data.task),
        leaks(splits),
        power(job.floor, splits.certify),
        data.classes,
        splits.train.weight is not None,
    )


def _alarm(leak: Leak) -> str:
    if not leak.rows:
        return (
            f"{leak.groups} groups are both in the {leak.one} and in the {leak.other} split: scores there say nothing "
            "about groups never seen. To fix: deal the rows with groups=, which keeps each in one split."
        )
    return (
        f"{leak.rows} of {leak.of} rows of the {leak.other} split ({percent(leak.rows / leak.of, 1)}) are also in the "
        f"{leak.one} split: scores there are better than they will be. To fix: drop them from {leak.one}, or deal the "
        "rows with groups=pennyweight.data.copies.copies(x), which keeps equal ones together. (Rows of a few coarse "
        "columns may be equal and yet different examples; that is no leak.)"
    )
