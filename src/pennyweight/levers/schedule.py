"""Train in fewer epochs on a one-cycle schedule that reaches the same quality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class Schedule(Lever):
    """Super-convergence: the learning rate climbs to `peak` times the one asked for and falls to nothing.

    Training lasts the share `epochs` of the epochs asked for.
    """

    epochs: float = 0.5
    peak: float = 3.0

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = "Smith and Topin 2018, Super-Convergence (arXiv:1708.07120)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three fifths of the epochs down to a fifth."""
        if job.spec.form is Form.MODULE:
            for epochs in (0.6, 0.4, 0.2):
                yield cls(epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that are trained on another schedule."""
        if spec.form is not Form.MODULE:
            return no("only networks are trained by a schedule of learning rates")
        if spec.train.schedule == "onecycle":
            return no("training follows a one-cycle schedule already")
        return YES if self.epochs < 1 else no("it would not train for fewer epochs; give a share below 1")

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer epochs, a higher peak."""
        train = spec.train
        less = replace(train, epochs=train.epochs * self.epochs, lr=train.lr * self.peak, schedule="onecycle")
        return replace(spec, train=less)

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
