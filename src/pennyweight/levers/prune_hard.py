"""Train on the rows that teach most, as a short training of the network itself tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.data.kept import by_class, kept
from pennyweight.errors import NoEffectError
from pennyweight.train.hardness import MEASURES, hardness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

KEEPS = ("hard", "easy", "middle")
_LEAST = 20  # rows that are left
_SHORT = 0.1  # of the epochs asked for, for telling rows apart


@final
@dataclass(frozen=True, slots=True)
class PruneHard(Lever):
    """Keep the share `share` of the rows of every class: the hardest, the easiest or those in the middle.

    How hard a row is is told by training a copy of the network for `epochs`, and measured by "el2n" (the length of the
    error), "loss" or "forgetting". Hard rows are best where rows are many; where they are few, easy ones
    (Sorscher et al. 2022).
    """

    share: float = 0.7
    keep: str = "hard"
    measure: str = "el2n"
    epochs: float = 1.0

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Paul, Ganguli and Dziugaite 2021, Deep Learning on a Data Diet (arXiv:2107.07075); Toneva et al. 2019 "
        "(arXiv:1812.05159); Sorscher et al. 2022, Beyond Neural Scaling Laws (arXiv:2206.14486)"
    )
    trust: ClassVar[float] = 0.02  # whole rows, and no class without one

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Four fifths, three fifths and two fifths of the rows; hard ones, and of the fewest also the middle."""
        epochs = max(0.5, _SHORT * job.spec.train.epochs)
        if job.spec.form is Form.MODULE and 0.4 * job.spec.data.rows >= _LEAST:
            for share in (0.8, 0.6, 0.4):
                yield cls(share, epochs=epochs)
            yield cls(0.4, "middle", epochs=epochs)

    def fits(self, spec: Spec) -> Verdict:
        """Fits networks that train for longer than it takes to tell their rows apart."""
        if spec.form is not Form.MODULE:
            return no("only a network that is still to be trained tells its rows apart")
        if self.keep not in KEEPS or self.measure not in MEASURES:
            return no(f"there is only {', '.join(KEEPS)} to keep, measured by {', '.join(MEASURES)}")
        if not 0 < self.share < 1 or self.share * spec.data.rows < _LEAST:
            return no(f"give a share between 0 and 1 that leaves at least {_LEAST} rows")
        if not 0 < self.epochs < (1 - self.share) * spec.train.epochs:
            return no("telling the rows apart would take as long as is saved; give fewer epochs or a smaller share")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Train on the share of the rows, after so many passes over all."""
        data = spec.data
        rows, looked = round(data.rows * self.share), data.looked + data.rows * self.epochs
        return replace(spec, data=replace(data, rows=rows, looked=looked))

    def pull(self, work: Work) -> Work:
        """Train a copy, and keep what it tells to keep."""
        hard = hardness(work, self.measure, self.epochs)
        parts = [members[self._of(hard[members], n)] for members, n in by_class(work.data.train.y, self.share)]
        index = np.sort(np.concatenate(parts))
        if len(index) == len(hard):
            raise NoEffectError("Every row would be kept.", "give a smaller share.")
        looked = work.spec.data.looked + len(hard) * self.epochs
        work = kept(work, index)
        return work.having(spec=replace(work.spec, data=replace(work.spec.data, looked=looked)))

    def _of(self, hard: NDArray[np.float64], wanted: int) -> NDArray[np.intp]:
        order = np.argsort(-hard, kind="stable")
        first = {"hard": 0, "easy": len(order) - wanted, "middle": (len(order) - wanted) // 2}[self.keep]
        return order[first : first + wanted]
