"""Train on rows without labels too: once trained for a while, the network says what they most surely are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight.backends import load
from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.data.copies import doubled
from pennyweight.data.kept import by_class
from pennyweight.data.splits import Arrays
from pennyweight.train.loop import How, fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

_COSTS = 0.75  # of the training asked for, labelling included, at the settings worth trying
_LOOK = 0.25  # of the epochs asked for, for labelling
_WEIGHTLESS = 1.0


@final
@dataclass(frozen=True, slots=True)
class PseudoLabel(Lever):
    """Train for `look` epochs on the rows with labels, and label the others by what was learned.

    The share `share` of them that the network is surest of, of every class it sees in them, is added to the training
    rows. On all of these it then trains on for the share `epochs` of the epochs asked for.
    """

    share: float = 0.5
    epochs: float = 0.5
    look: float = 1.0

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Lee 2013, Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method; Cascante-Bonilla et al. "
        "2021, Curriculum Labeling (arXiv:2001.06001)"
    )
    trust: ClassVar[float] = 0.02  # whole rows, and no class without one

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """The surer half and all of them, for three quarters of the training asked for."""
        data, asked = job.spec.data, job.spec.train.epochs
        for share in (0.5, 1.0):
            epochs = (_COSTS - _LOOK) * data.rows / (data.rows + share * data.unlabelled)
            lever = cls(share, round(epochs, 3), _LOOK * asked)
            if lever.fits(job.spec):
                yield lever

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that tell classes apart and have rows without labels beside those with."""
        if spec.form is not Form.MODULE or spec.data.task is not Task.CLASSIFY:
            return no("only a network that tells classes apart, and is still to be trained, says what rows are")
        if not spec.data.unlabelled:
            return no("there are no rows without labels; give some with Splits(..., unlabelled=x)")
        if spec.data.stored < 1:
            return no("the training rows are packed already; pull columnar after it")
        if not (0 < self.share <= 1 and self.epochs > 0 and self.look > 0):
            return no("give a share of rows up to 1, and epochs above 0")
        if round(self.share * spec.data.unlabelled) < max(1, spec.data.classes):
            return no("fewer rows than classes would be added; give a larger share")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """More rows, for other epochs, after so many passes over those with labels."""
        data = spec.data
        more = replace(
            data,
            rows=data.rows + round(self.share * data.unlabelled),
            looked=data.looked + data.rows * self.look,
            unlabelled=0,
        )
        return replace(spec, data=more, train=replace(spec.train, epochs=spec.train.epochs * self.epochs))

    def pull(self, work: Work) -> Work:
        """Train for a while, and add what the network is then surest of."""
        settings = replace(work.spec.train, epochs=self.look, patience=None)
        how = How(seed=work.seed, task=work.spec.data.task)
        work = work.having(model=fit(work.model, work.data.train, settings, how=how).model)
        rows, labels = self._surest(work.data.unlabelled, load("torch").predict(work, work.data.unlabelled))
        train = _joined(work.data.train, rows, labels)
        spec = self.rewrite(work.spec)
        copies = doubled(train.x, train.y) / len(train) if spec.data.duplicates else 0.0
        spec = replace(spec, data=replace(spec.data, rows=len(train), duplicates=copies))
        return work.having(data=replace(work.data, train=train, unlabelled=None), spec=spec)

    def _surest(
        self, rows: NDArray[np.float32], logits: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The rows of every class with the highest probability of it, and that class."""
        labels = logits.argmax(axis=1)
        top = logits.max(axis=1, keepdims=True)
        unsure = np.exp(logits - top).sum(axis=1)  # one over the probability of the label
        parts = [members[np.argsort(unsure[members], kind="stable")[:n]] for members, n in by_class(labels, self.share)]
        index = np.sort(np.concatenate(parts))
        return rows[index], labels[index]


def _joined(train: Arrays, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Arrays:
    """The training rows and the new ones, each of which weighs as much as others of its class do on average."""
    weight = train.weight
    if weight is not None:
        means = {name: weight[train.y == name].mean() for name in np.unique(train.y)}
        new = [means.get(name, _WEIGHTLESS) for name in labels]
        weight = np.concatenate([weight, np.array(new, weight.dtype)])
    x = np.concatenate([train.x, rows.astype(train.x.dtype)])
    return Arrays(x, np.concatenate([train.y, labels.astype(train.y.dtype)]), None, weight)
