"""Train on a share of the rows that stands for all of them: herding or cluster centres, class by class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Form, Lever, Stage, Task, no
from pennyweight.data.coresets import OUTLIERS, PICKS, picked, usual
from pennyweight.data.embedding import embedded
from pennyweight.data.kept import by_class, kept
from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

_LEAST = 20  # rows that are left


@final
@dataclass(frozen=True, slots=True)
class Coreset(Lever):
    """Keep the share `share` of the training rows of every class, those that stand best for it.

    `pick` is "herding" (their mean in a Gaussian kernel's space is that of all rows) or "kmeans" (the rows nearest to
    as many cluster centres), on principal components. With `outliers`, "dbscan" or "isolation", rows unlike all others
    of their class are not picked as long as there are others.
    """

    share: float = 0.5
    pick: str = "herding"
    outliers: str = ""

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Welling 2009, Herding Dynamical Weights to Learn; Chen, Welling and Smola 2010, Super-Samples from Kernel "
        "Herding (arXiv:1203.3472)"
    )
    trust: ClassVar[float] = 0.5  # trees grow smaller on fewer rows, which paper does not promise

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Three quarters, half and a quarter of the rows."""
        for share in (0.75, 0.5, 0.25):
            if share * job.spec.data.rows >= _LEAST:
                yield cls(share)

    def fits(self, spec: Spec) -> Verdict:
        """Fits data of some rows, before anything is trained on them."""
        if spec.form not in {Form.MODULE, Form.ESTIMATOR}:
            return no("the model is finished; choose rows before it is trained")
        if self.pick not in PICKS or self.outliers not in OUTLIERS:
            return no(f"there is only {', '.join(PICKS)} to pick, and {', '.join(OUTLIERS[1:])} against outliers")
        if not 0 < self.share < 1:
            return no("it would keep every row or none; give a share between 0 and 1")
        if self.share * spec.data.rows < _LEAST:
            return no(f"fewer than {_LEAST} rows would be left to train on")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Train on the share of the rows."""
        return replace(spec, data=replace(spec.data, rows=round(spec.data.rows * self.share)))

    def pull(self, work: Work) -> Work:
        """Pick the rows."""
        train = work.data.train
        rows = embedded(train.x, seed=work.seed)
        if work.spec.data.task is Task.REGRESS:
            rows = np.column_stack([rows, _unit(train.y)]).astype(np.float32)
        taken = [self._of_class(rows, members, n, work.seed) for members, n in by_class(train.y, self.share)]
        index = np.sort(np.concatenate(taken))
        if len(index) == len(train):
            raise NoEffectError("Every row would be kept.", "give a smaller share.")
        return kept(work, index)

    def _of_class(
        self, rows: NDArray[np.float32], members: NDArray[np.intp], wanted: int, seed: int
    ) -> NDArray[np.intp]:
        fine = usual(rows[members], self.outliers, seed)
        if fine.sum() < wanted:
            fine[:] = True
        members = members[fine]
        return members[picked(rows[members], wanted, self.pick, seed)]


def _unit(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values (N, ...) as columns of deviation one: rows with other answers are not alike."""
    flat = y.reshape(len(y), -1)
    scaled: NDArray[np.float32] = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-12)
    return scaled
