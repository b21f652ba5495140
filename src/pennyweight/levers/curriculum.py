"""Easy rows first, hard ones when the network is ready for them: fewer epochs are enough."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.data.splits import is_classes
from pennyweight.train.hardness import hardness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

_PASSES = 2  # in which rows come up, at least
_SHORT = 0.05  # of the epochs asked for, for telling rows apart


@final
@dataclass(frozen=True, slots=True)
class Curriculum(Lever):
    """Train for the share `epochs` of the epochs, on the easiest share `start` of the rows at first.

    More come up with every pass, of all classes alike, until after the share `pace` of training all have. How hard a
    row is is the loss of a copy of the network that was trained for `look` epochs.
    """

    epochs: float = 0.75
    pace: float = 0.25
    start: float = 0.2
    look: float = 0.5

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Bengio et al. 2009, Curriculum Learning; Hacohen and Weinshall 2019, On the Power of Curriculum Learning in "
        "Training Deep Networks (arXiv:1904.03626)"
    )
    trust: ClassVar[float] = 0.0

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three quarters and half of the epochs."""
        look = round(max(0.5, _SHORT * job.spec.train.epochs), 3)
        yield from (each for each in (cls(share, look=look) for share in (0.75, 0.5)) if each.fits(job.spec))

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that are trained for longer than it takes to tell their rows apart."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained meets rows in an order")
        if spec.train.pace:
            return no("the rows come in an order already")
        if not (0 < self.start < 1 and 0 < self.pace <= 1 and self.epochs > 0):
            return no("give a share of rows to start with below 1, a pace up to 1 and epochs above 0")
        if not 0 < self.look < (1 - self.epochs) * spec.train.epochs:
            return no("telling the rows apart would take as long as is saved; give fewer epochs, or look for less long")
        if self.pace * self.epochs * spec.train.epochs < _PASSES:
            return no(f"rows would come up in fewer than {_PASSES} passes; there are too few epochs for an order")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer epochs in an order, after so many passes to find it."""
        data, train = spec.data, spec.train
        train = replace(train, epochs=train.epochs * self.epochs, pace=self.pace, start=self.start)
        return replace(spec, data=replace(data, looked=data.looked + data.rows * self.look), train=train)

    def pull(self, work: Work) -> Work:
        """Train a copy, and put the rows in the order of its loss."""
        train = work.data.train
        order = np.argsort(_rank(hardness(work, "loss", self.look), train.y), kind="stable")
        return work.having(data=replace(work.data, train=train.take(order)), spec=self.rewrite(work.spec))


def _rank(hard: NDArray[np.float64], y: NDArray[np.generic]) -> NDArray[np.float64]:
    """The place of each row among those of its class, from 0 (easiest) to 1."""
    rank = np.empty(len(hard))
    for members in [np.flatnonzero(y == name) for name in np.unique(y)] if is_classes(y) else [np.arange(len(y))]:
        rank[members[np.argsort(hard[members], kind="stable")]] = np.arange(len(members)) / len(members)
    return rank
