"""Begin training with shorter sequences, or with smaller images: a step costs less while there is most to learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight.backends.torch_weights import unlike
from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.cost.sizes import takes_images_of_any_size
from pennyweight.train.objective import Batch
from pennyweight.train.smaller import smaller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Job, Spec, TrainSpec, Verdict, Work

_LEAST = 4  # tokens or pixels along a side


@final
@dataclass(frozen=True, slots=True)
class Progressive(Lever):
    """In the first share `small` of the steps rows have the share `size` of their length, or of their sides.

    Sequences are cut to windows that begin anywhere, the same for a batch; images are averaged to fewer pixels, where
    the network pools all places into one and so takes any size. The steps stay as many.
    """

    small: float = 0.5
    size: float = 0.5

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Press, Smith and Lewis 2021, Shortformer (arXiv:2012.15832); Li, Zhang and He 2022, The Stability-Efficiency "
        "Dilemma (arXiv:2108.06084); Tan and Le 2021, EfficientNetV2 (arXiv:2104.00298)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half size for a half and for three quarters of the steps, then a quarter of the size."""
        settings = ((0.5, 0.5), (0.75, 0.5), (0.5, 0.25), (0.75, 0.25))
        yield from (each for each in starmap(cls, settings) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits language models, and networks on images of any size, before they are trained."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained meets rows of several sizes")
        if spec.train.small:
            return no("training begins with smaller rows already")
        if not (0 < self.small < 1 and 0 < self.size < 1):
            return no("give the share of steps, and of the size, each between 0 and 1")
        if spec.train.team.sync.startswith("async"):
            return no("a parameter server hands out rows of one size only; use another sync")
        if spec.data.task is not Task.LANGUAGE and not takes_images_of_any_size(spec):
            return no("the network takes rows of one size only")
        if spec.data.padding:
            return no("a window of padded rows could be all padding; pull pack before it")
        sides = spec.data.shape if spec.data.task is Task.LANGUAGE else spec.data.shape[1:]
        if not sides or min(sides) * self.size < _LEAST:
            return no(f"fewer than {_LEAST} tokens or pixels along a side would be left; give a larger size")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer places in the first steps."""
        return replace(spec, train=self._train(spec.train))

    def pull(self, work: Work) -> Work:
        """Change the settings that training will follow; refuse a network that stumbles over smaller rows."""
        import torch

        spec = self.rewrite(work.spec)
        rows = (torch.from_numpy(np.array(column[:2])) for column in (work.data.train.x, work.data.train.y))
        small = smaller(Batch(*rows), spec.train, spec.data.task, 0.0)
        training = work.model.training
        try:
            with torch.no_grad():
                work.model.eval()(small.x)
        except (RuntimeError, ValueError) as error:
            raise unlike("it takes rows of one size only") from error
        finally:
            work.model.train(training)
        return work.having(spec=spec)

    def _train(self, train: TrainSpec) -> TrainSpec:
        return replace(train, small=self.small, size=self.size)
