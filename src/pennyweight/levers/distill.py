"""Train a smaller student, narrower or of another shape, by the answers of the trained network and by the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from pennyweight import backends
from pennyweight.backends.torch_channels import Channels, can_narrow, narrowed
from pennyweight.backends.torch_weights import sample
from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.cost.count import count, flop
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.train.students import fresh, offered
from pennyweight.train.tuning import can_teach, copy_of, must_be_trained, retrain, tuned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pennyweight.core import Job, Spec, Verdict, Work

_WIDTHS = ((0.5, 1.0), (0.375, 2.0), (0.25, 2.0), (0.125, 3.0))  # shares, and the epochs asked for, so many times
_FEW_WIDTHS = (_WIDTHS[0], _WIDTHS[2])  # where the job knows better what its students could be
_FROM_RANDOM = 4.0  # times the epochs asked for, for a student that starts at random
_FORWARD = 1 / 3  # of the three passes that one row of tuning stands for
_TOO_MANY = "the teacher's answers to all training rows do not fit into memory; train on fewer rows"


@final
@dataclass(frozen=True, slots=True)
class Distill(Lever):
    """Teacher → student: the same architecture at a share `width` of every width group, trained for `epochs`.

    Half of the loss is the Kullback–Leibler divergence to the teacher's answers at temperature 2, half the labels. The
    student starts from the teacher's own channels, those that span the others best, which measured better than
    starting at random at every width tried. With `student`, it is the one of that name which the job's model factory
    offers: of any shape, starting at random; `width` then plays no part.
    """

    width: float = 0.5
    epochs: float = 10.0
    student: str = ""

    stage: ClassVar[Stage] = Stage.COMPRESS
    source: ClassVar[str] = "Hinton, Vinyals and Dean 2015, Distilling Knowledge (arXiv:1503.02531)"
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Half of the width down to an eighth and the job's own students, those with most FLOP first.

        The narrower, the longer they are trained; students that start at random, four times as long as was asked for.
        """
        epochs, heirs = max(1.0, job.spec.train.epochs), job.spec.heirs
        found = [cls(width, times * epochs) for width, times in (_FEW_WIDTHS if heirs else _WIDTHS)]
        found += [cls(epochs=_FROM_RANDOM * epochs, student=heir.name) for heir in heirs]
        yield from sorted(found, key=lambda each: -sum(map(flop, each.rewrite(job.spec).ops)))

    def fits(self, spec: Spec) -> Verdict:
        """Fits dense torch modules that have widths or heirs, if the teacher's answers fit into memory."""
        if verdict := self._has_heir(spec) if self.student else can_narrow(spec, self.width):
            return verdict if can_teach(spec) else no(_TOO_MANY)
        return verdict

    def rewrite(self, spec: Spec) -> Spec:
        """Put the student's operators in place; add the rows of training, and those the teacher has to answer."""
        student = self._smaller(spec)
        times = sum(map(flop, spec.ops)) / max(1.0, sum(map(flop, student.ops)))
        asked = spec.data.rows * _FORWARD * times  # in rows of the student, which is what tuning is counted in
        return tuned(replace(student, tune_rows=spec.tune_rows + asked), self.epochs)

    def pull(self, work: Work) -> Work:
        """Make the student and train it on the training split."""
        student = self._made(work) if self.student else self._narrow(work)
        student = retrain(student, work, self.epochs, teacher=backends.load("torch").predict)
        return work.having(model=student, spec=self.rewrite(work.spec))

    def __str__(self) -> str:
        """The width, or the student, and the epochs."""
        which = f"student={self.student}" if self.student else f"width={self.width:g}"
        return f"{self.name}({which}, epochs={self.epochs:g})"

    def _smaller(self, spec: Spec) -> Spec:
        """The spec with the operators of the student: resized by the rule that reality uses, or those of the heir."""
        if not self.student:
            return spec.resize(narrowed(spec, self.width))
        heir = spec.heir(self.student)
        if heir is None:
            raise BadInputError(f"{self} cannot be done: {self._has_heir(spec).reason}.", "leave it out.")
        return replace(spec, ops=heir.ops)

    def _has_heir(self, spec: Spec) -> Verdict:
        names = [heir.name for heir in spec.heirs]
        if spec.form is not Form.MODULE:
            return no(
                f"a student takes the place of a torch module, not of a {spec.form.value}; do it before quantising"
            )
        if self.student not in names:
            return no(
                f"the job offers {', '.join(names) or 'no student'}, not {self.student!r}; give its factory students"
            )
        if spec.heir(self.student) is None:
            return no(
                "the network is not as asked any more, whose place the student would take; distil before changing it"
            )
        return YES if self.epochs > 0 else no("the student starts at random and has to be trained; give it epochs")

    def _narrow(self, work: Work) -> nn.Module:
        heir = copy_of(work, "Distilling")
        sizes = narrowed(work.spec, self.width)
        if not sizes:
            raise NoEffectError("The student would be as wide as its teacher.", "choose a smaller width.")
        x, _ = sample(work)
        channels = Channels(heir, work.spec, sizes, x)
        channels.narrow(channels.spanning())
        return heir

    def _made(self, work: Work) -> nn.Module:
        """A fresh student of the job's own, refused if it is not what was counted."""
        must_be_trained(work, "Distilling")
        spec = self._smaller(work.spec)
        student = fresh(offered(work.material.make_model)[self.student], work.seed, f"The student {self.student!r}")
        real = replace(spec, ops=backends.load("torch").table(work.having(model=student)))
        if count(real) != count(spec):
            raise BadInputError(
                f"The student {self.student!r} is another network than the one that was counted.",
                "let its function make the same shape every time.",
            )
        return student
