"""Merge neurons that say the same: keep those that explain the others, and fold the others into their readers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight import backends
from pennyweight.backends.torch_channels import Channels, can_narrow, narrowed
from pennyweight.backends.torch_weights import rows_to_see, sample
from pennyweight.core import Lever, Stage
from pennyweight.errors import NoEffectError
from pennyweight.train.tuning import copy_of, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, Verdict, Work

_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for


@final
@dataclass(frozen=True, slots=True)
class Merge(Lever):
    """Similar neurons merged: a `share` of the channels of every width group is expressed by those that stay.

    What each channel carries on training rows is measured once; the kept ones span the others best (pivoted QR, an
    interpolative decomposition), and the weights of all layers that read the group take over the others' part by least
    squares. Needs no labels and, unless `epochs` says so, no training.
    """

    share: float = 0.5
    epochs: float = 0.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Srinivas and Babu 2015, Data-free parameter pruning (arXiv:1507.06149); Chee, Flynn, Damle and De Sa 2022, "
        "Model Preserving Compression for Neural Networks (arXiv:2108.00065)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """A quarter and half of the channels without training, then up to three quarters with a little."""
        yield cls(0.25)
        yield cls(0.5)
        epochs = max(1.0, job.spec.train.epochs / 4)
        yield cls(0.5, epochs)
        yield cls(0.75, epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits dense torch modules with layers between input and output whose width may change."""
        return can_narrow(spec, 1 - self.share)

    def rewrite(self, spec: Spec) -> Spec:
        """Resize all width groups by the rule that reality uses; add the rows looked at and tuned on."""
        looked = rows_to_see(spec) * _FORWARD
        narrow = spec.resize(narrowed(spec, 1 - self.share))
        return tuned(replace(narrow, tune_rows=narrow.tune_rows + looked), self.epochs)

    def pull(self, work: Work) -> Work:
        """Measure what channels carry, merge, and train on if asked to, on the training split."""
        model = copy_of(work, "Merging")
        sizes = narrowed(work.spec, 1 - self.share)
        if not sizes:
            raise NoEffectError("No neuron can be merged.", "merge a larger share, or leave merging out.")
        x, _ = sample(work)
        channels = Channels(model, work.spec, sizes, x)
        channels.narrow(channels.spanning())
        model = retrain(model, work, self.epochs, teacher=backends.load("torch").predict)
        return work.having(model=model, spec=self.rewrite(work.spec))
