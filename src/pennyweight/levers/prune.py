"""Take out the channels that matter least to the loss, hand their part to the others, and train a little longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight import backends
from pennyweight.backends.torch_channels import Channels, can_narrow, narrowed
from pennyweight.backends.torch_weights import sample
from pennyweight.core import Lever, Stage
from pennyweight.errors import NoEffectError
from pennyweight.train.objective import Objective
from pennyweight.train.tuning import copy_of, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pennyweight.core import Job, Spec, Verdict, Work

_BATCH = 64


@final
@dataclass(frozen=True, slots=True)
class Prune(Lever):
    """Structured pruning: a `share` of the channels of every width group goes, then `epochs` of fine-tuning.

    The importance of a channel is the squared sum of gradient × weight over all that belongs to it, summed over batches
    of training rows. What the lost channels carried is first written as a combination of the kept ones, by least
    squares. The network as it was teaches half of the fine-tuning.
    """

    share: float = 0.5
    epochs: float = 2.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = (
        "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning (arXiv:1906.10771); "
        "He, Zhang and Sun 2017, Channel Pruning (arXiv:1707.06168); Fang et al. 2023, DepGraph (arXiv:2301.12900)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """A quarter of the channels up to three quarters, tuned for half as long as the network was trained."""
        epochs = max(1.0, job.spec.train.epochs / 2)
        for share in (0.25, 0.5, 0.625, 0.75):
            yield cls(share, epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits dense torch modules with layers between input and output whose width may change."""
        return can_narrow(spec, 1 - self.share)

    def rewrite(self, spec: Spec) -> Spec:
        """Resize all width groups by the rule that reality uses, and add the rows of fine-tuning."""
        return tuned(spec.resize(narrowed(spec, 1 - self.share)), self.epochs)

    def pull(self, work: Work) -> Work:
        """Measure, remove and fine-tune, on the training split."""
        model = copy_of(work, "Pruning")
        sizes = narrowed(work.spec, 1 - self.share)
        if not sizes:
            raise NoEffectError("No channel can go.", "take out a larger share, or leave pruning out.")
        x, y = sample(work)
        channels = Channels(model, work.spec, sizes, x)
        objective = Objective(work.spec.data.task)
        channels.narrow(_importance(channels, objective, x, y))
        model = retrain(model, work, self.epochs, teacher=backends.load("torch").predict)
        return work.having(model=model, spec=self.rewrite(work.spec))


def _importance(channels: Channels, objective: Objective, x: Tensor, y: Tensor) -> dict[nn.Module, NDArray[np.float64]]:
    """For the root of each tie, the importance of its channels: (Σ gradient × weight)², summed over batches."""
    from torch_pruning.pruner.importance import GroupTaylorImportance

    taylor = GroupTaylorImportance(normalizer=None, multivariable=True)
    total = {tie.root: np.zeros(tie.width) for tie in channels.ties}
    for x_part, y_part in zip(x.split(_BATCH), y.split(_BATCH), strict=True):
        channels.model.zero_grad(set_to_none=False)
        objective.hard(channels.model(x_part), y_part).backward()
        for tie in channels.ties:
            total[tie.root] += taylor(tie.group).double().numpy() ** 2
    channels.model.zero_grad(set_to_none=True)
    return total
