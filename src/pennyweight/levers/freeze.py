"""Train only the last layers of a pretrained network; the layers before keep what they know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Kind, Lever, Stage, no
from pennyweight.cost.count import weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Op, Spec, Verdict, Work

_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})


@final
@dataclass(frozen=True, slots=True)
class Freeze(Lever):
    """Transfer: the last `layers` matrices of the network learn, with what stands behind the first of them.

    Nothing passes backward through the layers before, and batch norms there keep their statistics. Blocks that repeat
    are one row of the operator table and count as one layer of each kind.
    """

    layers: int = 1

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = "Yosinski et al. 2014, How Transferable Are Features in Deep Networks (arXiv:1411.1792)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half of the layers, a quarter, the last alone."""
        layers = len(_layers(job.spec))
        if job.spec.train.pretrained:
            yield from map(cls, sorted({max(1, round(layers * share)) for share in (0.5, 0.25, 0.0)}, reverse=True))

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks whose factory gives weights worth keeping, if some layer is left to keep them."""
        if spec.form is not Form.MODULE:
            return no("only networks have layers that can keep their weights")
        if not spec.train.pretrained:
            return no("the network begins from random weights; give a pretrained one, with TrainSpec(pretrained=True)")
        if spec.train.learns:
            return no("a part of the network is kept already")
        layers = len(_layers(spec))
        if not 1 <= self.layers < layers:
            return no(f"of {layers} layers, {self.layers} would learn; give at least one and not all of them")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Name the rows that learn: the first of them, and all behind it."""
        first = _layers(spec)[-self.layers]
        behind = spec.ops[spec.ops.index(first) :]
        learns = tuple(op.name for op in behind if weights(op))
        return replace(spec, train=replace(spec.train, learns=learns))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))


def _layers(spec: Spec) -> list[Op]:
    return [op for op in spec.ops if op.kind in _MATRICES]
