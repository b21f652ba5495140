"""Compute activations anew on the way back instead of keeping them: training takes less memory and more operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.backends.torch_weights import unlike
from pennyweight.core import YES, Form, Kind, Lever, Stage, no
from pennyweight.cost.activations import activation_byte
from pennyweight.cost.partly import repeated
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_STATISTICS = 4  # values per channel of a norm that keeps running statistics


@final
@dataclass(frozen=True, slots=True)
class Recompute(Lever):
    """Keep what each repeated block is given, and compute the rest again when the gradient comes to it.

    It saves memory, no operations: a third more of them in the blocks. What it buys is a network, a context or a
    mini-batch that would not fit otherwise.
    """

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost (arXiv:1604.06174); Korthikanti et al. 2022, "
        "Reducing Activation Recomputation in Large Transformer Models (arXiv:2205.05198)"
    )
    trust: ClassVar[float] = 0.05

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """The one there is."""
        if cls().fits(job.spec):
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that repeat a block, before they are trained."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained keeps activations for the way back")
        if spec.train.recompute:
            return no("activations are computed anew already")
        if spec.train.team.sync.startswith("async"):
            return no("workers of a parameter server keep all activations; use another sync")
        blocks = repeated(spec)
        if not blocks:
            return no("the network repeats no block that could be computed anew")
        if any(op.kind is Kind.NORM and op.per_out == _STATISTICS for op in blocks):
            return no("its blocks have batch norms, which would count every batch twice")
        less = activation_byte(self.rewrite(spec)) < activation_byte(spec)
        return YES if less else no("what its blocks are given is as much as what they keep")

    def rewrite(self, spec: Spec) -> Spec:
        """Less is kept, more is computed."""
        return replace(spec, train=replace(spec.train, recompute=True))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow; refuse a network without such blocks in reality."""
        from pennyweight.train.recomputing import recomputing

        spec = self.rewrite(work.spec)
        try:
            with recomputing(work.model, spec.train):
                return work.having(spec=spec)
        except BadInputError as error:
            raise unlike("it keeps its blocks in no list of modules") from error
