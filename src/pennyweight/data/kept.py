"""A share of the rows, kept as a whole: how many of every class, and the spec that then describes what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.copies import doubled
from pennyweight.data.splits import is_classes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.core import Work


def kept(work: Work, index: NDArray[np.intp], times: NDArray[np.float64] | None = None) -> Work:
    """The work with the training rows at `index` only; what the spec says of rows, holes and copies is counted anew.

    With `times` (len(index),) each counts so often, beside the weight it had.
    """
    train = work.data.train.take(index)
    if times is not None:
        train = replace(train, weight=times / times.mean() * (1.0 if train.weight is None else train.weight))
    holes = _holes(train.x)
    copies = doubled(train.x, train.y) / len(train) if work.spec.data.duplicates else 0.0
    data = replace(work.spec.data, rows=len(train), missing=holes, duplicates=copies)
    return work.having(data=replace(work.data, train=train), spec=replace(work.spec, data=data))


def by_class(y: NDArray[Any], share: float) -> Iterator[tuple[NDArray[np.intp], int]]:
    """The rows of each class of `y` (N, ...), and how many of them are `share` of all; one class where there are none.

    No class loses its last row, and the numbers add up to ``round(share * N)`` if that leaves one for each.
    """
    members = [np.flatnonzero(y == name) for name in np.unique(y)] if is_classes(y) else [np.arange(len(y))]
    wanted = np.array([share * len(rows) for rows in members])
    counts = np.maximum(1, np.floor(wanted)).astype(int)
    short = round(share * len(y)) - int(counts.sum())
    for which in np.argsort(counts - wanted, kind="stable")[: max(0, short)]:
        counts[which] += 1
    yield from zip(members, counts.tolist(), strict=True)


def _holes(x: NDArray[Any]) -> float:
    if x.dtype.kind != "f":
        return 0.0
    return float((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).mean())
