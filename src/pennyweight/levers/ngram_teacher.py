"""Let a language model learn from counted chances of the next token in place of the token itself, and so for less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.train.tuning import can_teach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_CODES = 2**64  # that sequences are numbered by


@final
@dataclass(frozen=True, slots=True)
class NgramTeacher(Lever):
    """Train for the share `epochs` of the epochs, on what follows up to ``order - 1`` tokens in the training rows.

    The teacher is interpolated Kneser–Ney, counted in a second or so per million tokens; the loss is the divergence
    from its chances, which say of every token how likely it is, where the text says only which one came.
    """

    order: int = 5
    epochs: float = 0.5

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Kneser and Ney 1995, Improved Backing-off for M-gram Language Modeling; Hinton, Vinyals and Dean 2015, "
        "Distilling Knowledge (arXiv:1503.02531)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three quarters, half and a quarter of the epochs."""
        yield from (each for each in (cls(epochs=share) for share in (0.75, 0.5, 0.25)) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits language models that are still to be trained, on as many tokens as a teacher can speak of."""
        if spec.form is not Form.MODULE or spec.data.task is not Task.LANGUAGE:
            return no("only a language model that is still to be trained can learn what follows what")
        if spec.train.teacher:
            return no(f"the network is taught by {spec.train.teacher} already")
        if spec.train.team.sync.startswith("async"):
            return no("a parameter server hands out labels, no teacher's chances; use another sync")
        if not (self.order >= 1 and 0 < self.epochs <= 1):
            return no("give an order from 1 and a share of the epochs")
        if spec.data.classes**self.order >= _CODES:
            return no(f"sequences of {self.order} out of {spec.data.classes} tokens are too many to number")
        return YES if can_teach(spec) else no("what a teacher says of so many tokens does not fit into memory")

    def rewrite(self, spec: Spec) -> Spec:
        """Another teacher, fewer epochs."""
        train = spec.train
        train = replace(train, teacher=f"ngrams:{self.order}", epochs=train.epochs * self.epochs)
        return replace(spec, train=train)

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow; it counts when it begins."""
        return work.having(spec=self.rewrite(work.spec))
