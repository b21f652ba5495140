"""Fine-tune a pretrained network through low-rank adapters, merged into its weights when training ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.torch_weights import unlike
from pennyweight.core import YES, Form, Kind, Lever, Stage, no
from pennyweight.cost.partly import adapted
from pennyweight.train.partly import adaptable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})


@final
@dataclass(frozen=True, slots=True)
class Lora(Lever):
    """Low-rank adaptation: to every matrix W an update B·A of rank `rank` is learned in its place; the last layer is.

    A layer whose update would cost more than the layer itself keeps its weights. The adapters are PEFT's, with alpha
    twice the rank, and are merged: what comes out has the operators that went in.
    """

    rank: int = 4

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models (arXiv:2106.09685)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Ranks of 16, 4 and 1 that have something to adapt."""
        if job.spec.train.pretrained:
            yield from (each for each in map(cls, (16, 4, 1)) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks whose factory gives weights worth keeping, if some matrix is large enough for the rank."""
        if spec.form is not Form.MODULE:
            return no("only networks have matrices that an adapter can stand beside")
        if not spec.train.pretrained:
            return no("the network begins from random weights; give a pretrained one, with TrainSpec(pretrained=True)")
        if spec.train.learns:
            return no("a part of the network is kept already")
        if self.rank < 1 or not spec.has(*_MATRICES):
            return no("it takes a rank of at least one and a matrix to adapt")
        if not adapted(self.rewrite(spec)):
            return no(f"no matrix is large enough for an adapter of rank {self.rank}; give a lower one")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """The last layer learns; the others take adapters."""
        last = next(op.name for op in reversed(spec.ops) if op.kind in _MATRICES)
        return replace(spec, train=replace(spec.train, learns=(last,), adapt=self.rank))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow; refuse a network whose matrices are not all layers."""
        spec = self.rewrite(work.spec)
        if len(adaptable(work.model, spec.train)) != sum(op.times for op in adapted(spec)):
            raise unlike("some of its matrices are no layers of their own")
        return work.having(spec=spec)
