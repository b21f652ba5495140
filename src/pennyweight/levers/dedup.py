"""Train on every distinct row once: exact copies cost time and teach nothing new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.errors import NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class Dedup(Lever):
    """Drop training rows that are equal, byte for byte, to an earlier one with the same answer.

    With `keep_weight`, the row that stays counts as often as it occurred, so the loss is the same in expectation.
    """

    keep_weight: bool = False

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = "Lee et al. 2022, Deduplicating Training Data (arXiv:2107.06499)"
    trust: ClassVar[float] = 0.25  # trees grow a little otherwise on other rows

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Both ways, where there are duplicates."""
        if job.spec.data.duplicates:
            yield cls(keep_weight=True)
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits data with duplicates, before anything is trained on them."""
        if spec.form not in {Form.MODULE, Form.ESTIMATOR}:
            return no("the model is finished; drop duplicates before it is trained")
        return YES if spec.data.duplicates else no("no training row occurs twice")

    def rewrite(self, spec: Spec) -> Spec:
        """Train on the distinct rows only."""
        data = spec.data
        return replace(spec, data=replace(data, rows=round(data.rows * (1 - data.duplicates)), duplicates=0.0))

    def pull(self, work: Work) -> Work:
        """Drop the copies."""
        train = work.data.train
        first, times = distinct(train.x, train.y)
        if len(first) == len(train):
            raise NoEffectError("No training row occurs twice.", "leave dedup out.")
        kept = train.take(first)
        if self.keep_weight:
            kept = replace(kept, weight=times / times.mean() * (1.0 if kept.weight is None else kept.weight))
        spec = replace(work.spec, data=replace(work.spec.data, rows=len(kept), duplicates=0.0))
        return work.having(data=replace(work.data, train=kept), spec=spec)


def distinct(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The positions of the first of each kind of row, ascending, and how often each occurs. O(N) in the rows."""
    seen: dict[bytes, list[int]] = {}
    rows = zip(np.ascontiguousarray(x), np.ascontiguousarray(y), strict=True)
    for at, (row, answer) in enumerate(rows):
        seen.setdefault(row.tobytes() + answer.tobytes(), []).append(at)
    first = np.array([places[0] for places in seen.values()], dtype=np.intp)
    return first, np.array([len(places) for places in seen.values()], dtype=float)
