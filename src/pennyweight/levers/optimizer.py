"""Train by another rule that needs fewer epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Kind, Lever, Stage, no
from pennyweight.train.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class Optimizer(Lever):
    """Change the weights by `rule`, at `lr` times the learning rate asked for, for the share `epochs` of the epochs.

    "muon" makes every change of a matrix orthogonal, so that all its directions are learned at one pace; what is no
    matrix is left to AdamW.
    """

    rule: str = "muon"
    epochs: float = 0.5
    lr: float = 3.0

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Jordan et al. 2024, Muon: An Optimizer for Hidden Layers in Neural Networks; Liu et al. 2025, Muon Is "
        "Scalable for LLM Training (arXiv:2502.16982)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Muon for three quarters, half and a quarter of the epochs."""
        if job.spec.form is Form.MODULE and job.spec.train.optimizer != "muon":
            for epochs in (0.75, 0.5, 0.25):
                yield cls(epochs=epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that are trained by another rule."""
        if spec.form is not Form.MODULE:
            return no("only networks are trained by a rule that could be another")
        if self.rule not in OPTIMIZERS:
            return no(f"there is no rule {self.rule!r}; use one of {', '.join(OPTIMIZERS)}")
        if spec.train.optimizer == self.rule:
            return no(f"the network is trained by {self.rule} already")
        if self.rule == "muon" and not spec.has(Kind.LINEAR):
            return no("there is no hidden matrix for muon; use another rule")
        return YES if 0 < self.epochs <= 1 and self.lr > 0 else no("give a share of the epochs and a rate above 0")

    def rewrite(self, spec: Spec) -> Spec:
        """Another rule, fewer epochs."""
        train = spec.train
        train = replace(train, optimizer=self.rule, epochs=train.epochs * self.epochs, lr=train.lr * self.lr)
        return replace(spec, train=train)

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
