"""Stop training when a held-back part of the training data has seen no progress for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_EXPECTED = 0.75  # of the epochs, on paper: when it will stop is only known by training


@final
@dataclass(frozen=True, slots=True)
class EarlyStop(Lever):
    """Hold back a tenth of the training rows and stop after `patience` evaluations without a better loss on them.

    The best weights are put back. The epochs asked for remain the most that are trained.
    """

    patience: int = 3

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = "Prechelt 1998, Early Stopping — But When?"
    trust: ClassVar[float] = 0.5

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Patient first."""
        if job.spec.form is Form.MODULE and job.spec.train.epochs >= 3:
            for patience in (5, 3, 1):
                yield cls(patience)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that train for some epochs at a rate that does not depend on when they end."""
        if spec.form is not Form.MODULE:
            return no("only networks are trained epoch by epoch here")
        if spec.train.patience is not None:
            return no("training stops early already")
        if spec.train.schedule != "constant":
            return no("a schedule that ends at nothing must not be cut short; use one or the other")
        if spec.train.epochs < 3:
            return no("so few epochs leave nothing to stop; train for three or more")
        return YES if self.patience >= 1 else no("patience must be at least one evaluation")

    def rewrite(self, spec: Spec) -> Spec:
        """Expect three quarters of the epochs."""
        epochs = spec.train.epochs * _EXPECTED
        return replace(spec, train=replace(spec.train, patience=self.patience, epochs=epochs))

    def pull(self, work: Work) -> Work:
        """Set the patience; the epochs remain the most that are trained."""
        train = replace(work.spec.train, patience=self.patience)
        return work.having(spec=replace(work.spec, train=train))
