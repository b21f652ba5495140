"""Solve one linear system for a kernel machine on a few landmarks in place of training the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight.backends.torch_landmarks import network, operators, suited
from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.cost.count import flop
from pennyweight.cost.learn.landmarks import LandmarkMachine, Settings, one_hot
from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Op, Spec, Verdict, Work

_POINTS = (2000, 1000, 400, 200, 100, 50)
_TRAINING = 3.0  # times the FLOP of an answer that an epoch is taken to need per row


@final
@dataclass(frozen=True, slots=True)
class Landmarks(Lever):
    """Kernel ridge regression on oriented gradients of the images, with `points` training images as landmarks.

    Nothing is learned by descent: the training images are compared with the landmarks, and one linear system gives the
    weights. What comes out is a network of two linear layers behind two fixed convolutions, and may be quantised.
    """

    points: int = 1000

    stage: ClassVar[Stage] = Stage.TRAIN
    source: ClassVar[str] = (
        "Williams and Seeger 2001, Using the Nyström Method to Speed Up Kernel Machines; "
        "Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection"
    )
    trust: ClassVar[float] = 0.05  # filters of few distinct numbers are stored packed

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three numbers of landmarks, most first, no more than half of the rows."""
        if suited(job.spec.data.shape) is not None and job.spec.form is Form.MODULE:
            few_enough = [points for points in _POINTS if 2 * points <= job.spec.data.rows]
            yield from map(cls, few_enough[:3])

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that answer images with a class or a value."""
        if spec.form is not Form.MODULE or spec.data.task is Task.LANGUAGE:
            return no("it takes the place of a network that answers images with a class or a value")
        if suited(spec.data.shape) is None:
            return no("the rows are no images of at least 7×7 pixels in one or three channels")
        if self.points < 1 or 2 * self.points > spec.data.rows:
            return no(f"{self.points} landmarks are too many for {spec.data.rows} rows; use at most half as many")
        if spec.ops == self._ops(spec):
            return no("the network is a kernel machine on so many landmarks already")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Other operators; the comparisons and the solution are written as epochs of equal FLOP."""
        ops = self._ops(spec)
        rows, answer_flop = spec.data.rows, sum(map(flop, ops))
        solving = 2.0 * self.points**2 * rows + self.points**3 + answer_flop * rows
        train = replace(spec.train, epochs=solving / (_TRAINING * answer_flop * rows), patience=None)
        return replace(spec, ops=ops, train=train)

    def pull(self, work: Work) -> Work:
        """Compare the training images with the landmarks, solve, and write the answer as a module."""
        shape, task = work.spec.data.shape, work.spec.data.task
        turn = suited(shape)
        if turn is None:
            raise NoEffectError("The rows are no images.", "leave landmarks out.")
        train = work.data.train
        targets = _targets(train.y, task, work.spec.data.classes)
        machine = LandmarkMachine.fit(turn(train.x), targets, Settings(self.points), seed=work.seed)
        module = network(machine, turn, shape, **({"heat": 1.0} if task is Task.REGRESS else {})).eval()
        return work.having(model=module, spec=self.rewrite(work.spec), trained=True)

    def _ops(self, spec: Spec) -> tuple[Op, ...]:
        return operators(spec.data.shape, self.points, max(1, spec.data.classes))


def _targets(y: NDArray[Any], task: Task, classes: int) -> NDArray[np.float32]:
    if task is Task.REGRESS:
        return y.reshape(len(y), -1).astype(np.float32)
    return one_hot(y, classes)
