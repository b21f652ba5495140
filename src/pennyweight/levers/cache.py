"""Keep the latest answers, and compute none of them twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from pennyweight.core import YES, Lever, Stage, Task, no
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Job, Spec, Verdict, Work

_ROWS = 4096
_RADII = (0.05, 0.1, 0.2, 0.5, 1.0)
_MORE = 0.01  # of all requests a coarser grid has to answer more, or it is not worth a trial


@final
@dataclass(frozen=True, slots=True)
class Cache(Lever):
    """The answers to the latest `rows` examples are kept, by which the share `hits` of all is expected to be answered.

    With a `grid`, numbers are rounded to its multiples before they are looked up, and before they are answered: all
    examples of one cell have the answer of its middle, so an answer never depends on what was asked before, and the
    floor is tested on just what is served.
    """

    rows: int = _ROWS
    hits: float = 0.1
    grid: float = 0.0

    stage: ClassVar[Stage] = Stage.SERVE
    source: ClassVar[str] = (
        "Crankshaw et al. 2017, Clipper: A Low-Latency Online Prediction Serving System (NSDI); for near duplicates: "
        "Bang 2023, GPTCache (NLP-OSS)"
    )
    trust: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not (self.rows >= 1 and 0 < self.hits < 1 and self.grid >= 0):
            raise BadInputError(
                f"A cache of {self.rows} examples that answers the share {self.hits:g}, with a grid of {self.grid:g}, "
                "cannot be.",
                "keep one example or more, expect a share between zero and one, and give a grid of zero or more.",
            )

    @classmethod
    def choices(cls, job: Job) -> Iterator[Self]:
        """What repeats exactly, by the demand; then coarser grids, as long as more rows of the training data meet.

        Cells are measured in standard deviations of the middle input column.
        """
        repeats = job.demand.repeats
        if repeats:
            yield cls(hits=repeats)
        rows, best = _numbers(job), repeats
        if rows is None:
            return
        spread = float(np.median(rows.std(axis=0)))
        for radius in _RADII if spread > 0 else ():
            grid = radius * spread
            hits = min(0.999, repeats + (1 - repeats) * _meeting(rows, grid))
            if hits > best + _MORE:
                yield cls(hits=round(hits, 3), grid=float(f"{grid:.3g}"))
                best = hits

    def fits(self, spec: Spec) -> Verdict:
        """Fits whatever keeps no answers yet; what has no numbers cannot be rounded."""
        if spec.serve.cache:
            return no("answers are kept already; one cache is enough")
        if self.grid and spec.data.task is Task.LANGUAGE:
            return no("tokens are names, not numbers that could be rounded; use no grid")
        return YES

    def rewrite(self, spec: Spec) -> Spec:
        """Fewer examples are computed; what each takes stays."""
        return replace(spec, serve=replace(spec.serve, cache=self.rows, grid=self.grid, hits=self.hits))

    def pull(self, work: Work) -> Work:
        """Say so in the spec: the model is weighed with that share of hits, and its server keeps answers."""
        if work.spec.serve.cache:
            raise NoEffectError("Answers are kept already.", "pull it once.")
        return work.having(spec=self.rewrite(work.spec))


def _numbers(job: Job) -> NDArray[Any] | None:
    """The training rows as columns, each once, if they are numbers without holes and here at all."""
    splits = getattr(job.material, "splits", None)
    x = None if splits is None else np.asarray(splits.train.x)
    if x is None or job.spec.data.task is Task.LANGUAGE or not np.issubdtype(x.dtype, np.floating):
        return None
    rows = x.reshape(len(x), -1)
    return np.unique(rows, axis=0) if np.isfinite(rows).all() else None


def _meeting(rows: NDArray[Any], grid: float) -> float:
    """The share of rows that fall into the cell of an earlier one."""
    cells = np.rint(rows / grid).astype(np.int32)
    return 1 - len({cell.tobytes() for cell in cells}) / len(cells)
