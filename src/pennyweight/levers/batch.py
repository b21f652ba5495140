"""Train in larger batches: the weights are read and changed less often."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_STEPS = 4  # an epoch has at least so many
_LINEAR = frozenset({"sgd"})


@final
@dataclass(frozen=True, slots=True)
class Batch(Lever):
    """Batches `times` as large, at a learning rate that keeps the noise of a step as it was.

    The rate of SGD grows as the batch (Goyal et al. 2017), that of optimisers that divide by a running size of the
    gradient as its root (Malladi et al. 2022).
    """

    times: int = 2

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv:1706.02677); Malladi et al. 2022, On the SDEs and "
        "Scaling Rules for Adaptive Gradient Algorithms (arXiv:2205.10287)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Twice, four and eight times as large, as long as an epoch has some steps."""
        if job.spec.form is Form.MODULE:
            for times in (2, 4, 8):
                if job.spec.data.rows >= _STEPS * times * job.spec.train.batch:
                    yield cls(times)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks with rows for some steps in every epoch."""
        if spec.form is not Form.MODULE:
            return no("only networks are trained in batches here")
        if self.times < 2:
            return no("the batch would be no larger; give a number of times from 2")
        if spec.data.rows < _STEPS * self.times * spec.train.batch:
            return no(f"an epoch would have fewer than {_STEPS} steps; use a smaller number of times")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """A larger batch and a higher rate."""
        train = spec.train
        higher = self.times if train.optimizer in _LINEAR else math.sqrt(self.times)
        return replace(spec, train=replace(train, batch=train.batch * self.times, lr=train.lr * higher))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
