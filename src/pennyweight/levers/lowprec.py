"""Train with products in 16 bits; weights, losses and sums stay in 32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight.core import YES, Form, Kind, Lever, Stage, no

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_PRECISIONS = ("bfloat16", "float16")


@final
@dataclass(frozen=True, slots=True)
class Lowprec(Lever):
    """Mixed precision: convolutions and matrix products in "bfloat16", or in "float16" with the loss scaled."""

    precision: str = "bfloat16"

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Micikevicius et al. 2018, Mixed Precision Training (arXiv:1710.03740); Kalamkar et al. 2019, A Study of "
        "BFLOAT16 for Deep Learning Training (arXiv:1905.12322)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Bfloat16, which needs no scaling."""
        if job.spec.form is Form.MODULE:
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that have products and are trained in float32."""
        if spec.form is not Form.MODULE:
            return no("only networks are trained by products that could have fewer bits")
        if self.precision not in _PRECISIONS:
            return no(f"there is no training in {self.precision}; use {' or '.join(_PRECISIONS)}")
        if spec.train.precision != "float32":
            return no(f"the network is trained in {spec.train.precision} already")
        return YES if spec.has(Kind.CONV, Kind.LINEAR, Kind.MATMUL) else no("there is no product to do in fewer bits")

    def rewrite(self, spec: Spec) -> Spec:
        """Another precision of training."""
        return replace(spec, train=replace(spec.train, precision=self.precision))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow."""
        return work.having(spec=self.rewrite(work.spec))
