"""Train a narrower student of the same make, by the answers of the trained network and by the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight import backends
from pennyweight.backends.torch_channels import Channels, can_narrow, narrowed
from pennyweight.backends.torch_weights import sample
from pennyweight.core import Lever, Stage, no
from pennyweight.cost.count import count
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.train.tuning import can_teach, copy_of, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class Distill(Lever):
    """Teacher → student: the same architecture at a share `width` of every width group, trained for `epochs`.

    Half of the loss is the Kullback–Leibler divergence to the teacher's answers at temperature 2, half the labels. The
    student starts from the teacher's own channels, those that span the others best, which measured better than
    starting at random at every width tried. If the job's material has a `make_student(width)`, that is the student.
    """

    width: float = 0.5
    epochs: float = 10.0

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "Hinton, Vinyals and Dean 2015, Distilling Knowledge (arXiv:1503.02531)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half of the width down to an eighth, each trained longer than the one before."""
        epochs = max(1.0, job.spec.train.epochs)
        for width, times in ((0.5, 1), (0.375, 2), (0.25, 2), (0.125, 3)):
            yield cls(width, times * epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits dense torch modules whose widths may change, if the teacher's answers fit into memory."""
        if verdict := can_narrow(spec, self.width):
            return verdict if can_teach(spec) else no(_TOO_MANY)
        return verdict

    def rewrite(self, spec: Spec) -> Spec:
        """Resize all width groups by the rule that reality uses, and add the rows of training."""
        return tuned(spec.resize(narrowed(spec, self.width)), self.epochs)

    def pull(self, work: Work) -> Work:
        """Make the student and train it on the training split."""
        student = retrain(self._student(work), work, self.epochs, teacher=backends.load("torch").predict)
        return work.having(model=student, spec=self.rewrite(work.spec))

    def _student(self, work: Work) -> nn.Module:
        import torch

        heir = copy_of(work, "Distilling")
        sizes = narrowed(work.spec, self.width)
        if not sizes:
            raise NoEffectError("The student would be as wide as its teacher.", "choose a smaller width.")
        own = getattr(work.material, "make_student", None)
        if own is not None:
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(work.seed)
                return self._checked(own(self.width), work)
        x, _ = sample(work)
        channels = Channels(heir, work.spec, sizes, x)
        channels.narrow(channels.spanning())
        return heir

    def _checked(self, student: nn.Module, work: Work) -> nn.Module:
        """The job's own student, refused if it is not what was counted."""
        spec = self.rewrite(work.spec)
        real = replace(spec, ops=backends.load("torch").table(work.having(model=student)))
        if count(real) != count(spec):
            raise BadInputError(
                f"make_student({self.width:g}) gives another network than {self.width:g} of each width.",
                f"give its width groups these sizes: {spec.widths()}.",
            )
        return student


_TOO_MANY = "the teacher's answers to all training rows do not fit into memory; train on fewer rows"
