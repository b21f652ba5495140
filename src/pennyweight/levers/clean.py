"""Leave out the training rows that cannot teach anything right: missing values, contradictory answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Form, Lever, Stage, no
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work


@final
@dataclass(frozen=True, slots=True)
class Clean(Lever):
    """Drop training rows with missing or infinite values and, if asked, rows whose twins have another answer.

    The select and certify splits are left as they are: what the model will meet is not for the lever to choose.
    """

    contradictions: bool = False

    stage: ClassVar[Stage] = Stage.DATA
    source: ClassVar[str] = (
        "Little and Rubin 2019, Statistical Analysis with Missing Data, 3rd ed., section 3.2 (complete cases); "
        "Northcutt et al. 2021, Pervasive Label Errors (arXiv:2103.14749)"
    )
    trust: ClassVar[float] = 0.25  # trees grow a little otherwise on other rows

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """Dropping incomplete rows, where there are any."""
        if job.spec.data.missing:
            yield cls()

    def fits(self, spec: Spec) -> Verdict:
        """Fits data with holes in it, before anything is trained on them."""
        if spec.form not in {Form.MODULE, Form.ESTIMATOR}:
            return no("the model is finished; clean the data before it is trained")
        return YES if spec.data.missing else no("no training row has a missing value")

    def rewrite(self, spec: Spec) -> Spec:
        """Train on the complete rows only."""
        data = spec.data
        return replace(spec, data=replace(data, rows=round(data.rows * (1 - data.missing)), missing=0.0))

    def pull(self, work: Work) -> Work:
        """Drop the rows."""
        train = work.data.train
        keep = whole(train.x) & whole(train.y)
        if self.contradictions:
            keep &= ~contradicted(train.x, train.y)
        if keep.all():
            raise NoEffectError("No training row is incomplete or contradicted.", "leave clean out.")
        if not keep.any():
            raise BadInputError(
                "Every training row has a missing value.",
                "fill them in, or drop the column they are missing from.",
            )
        data = replace(work.data, train=train.take(np.flatnonzero(keep)))
        spec = replace(work.spec, data=replace(work.spec.data, rows=int(keep.sum()), missing=0.0))
        return work.having(data=data, spec=spec)


def whole(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row (N,) of `values` (N, ...) is finite throughout."""
    if values.dtype.kind != "f":
        return np.ones(len(values), dtype=bool)
    complete: NDArray[np.bool_] = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return complete


def contradicted(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row has a twin, equal in `x`, with another answer in `y`. O(N) in the rows."""
    answers: dict[bytes, set[bytes]] = {}
    keys = [row.tobytes() for row in np.ascontiguousarray(x)]
    for key, answer in zip(keys, np.ascontiguousarray(y), strict=True):
        answers.setdefault(key, set()).add(answer.tobytes())
    return np.array([len(answers[key]) > 1 for key in keys])
