"""What can be read off three splits before anything is trained: sizes, holes, copies, and what leaks between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task
from pennyweight.data.answers import Tokens, Values
from pennyweight.data.balance import balance
from pennyweight.data.copies import doubled, row_names, shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.data.balance import Balance
    from pennyweight.data.splits import Arrays, Splits

PARTS = ("train", "select", "certify")
_ANSWERS: dict[Task, Callable[[NDArray[Any]], Balance | Values | Tokens]] = {
    Task.CLASSIFY: balance,
    Task.REGRESS: Values.of,
    Task.LANGUAGE: Tokens.of,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One split: its `rows` of `shape` and `dtype`, the bytes of all its columns, and what is odd about it.

    `missing` rows hold NaN or infinity, in the `columns` numbered if x is a table; `doubled` rows equal an earlier one,
    answer included; `groups` is the number of groups, None if rows have none; `answers` sums up y.
    """

    name: str
    rows: int
    shape: tuple[int, ...]
    dtype: str
    byte: int
    missing: int
    columns: tuple[int, ...]
    doubled: int
    groups: int | None
    answers: Balance | Values | Tokens


@dataclass(frozen=True, slots=True)
class Leak:
    """What the split `other` of `of` rows has in common with the split `one`: equal rows of x, and groups."""

    one: str
    other: str
    rows: int
    groups: int
    of: int


def parts(splits: Splits, task: Task) -> tuple[Part, ...]:
    """Measure train, select and certify, whose y is of `task`. O(N) in the rows, but for sorting N numbers."""
    return tuple(_part(name, getattr(splits, name), task) for name in PARTS)


def leaks(splits: Splits) -> tuple[Leak, ...]:
    """Every pair of splits that share rows or groups; empty if all is well. Time as for `parts`."""
    called = {name: row_names(getattr(splits, name).x) for name in PARTS}
    found = []
    for one, other in combinations(PARTS, 2):
        rows = shared(called[one], called[other])
        groups = _shared_groups(getattr(splits, one).groups, getattr(splits, other).groups)
        if rows or groups:
            found.append(Leak(one, other, rows, groups, len(called[other])))
    return tuple(found)


def _part(name: str, rows: Arrays, task: Task) -> Part:
    columns = (rows.x, rows.y, rows.groups, rows.weight)
    byte = sum(each.nbytes for each in columns if each is not None)
    holes = _holes(rows.x)
    return Part(
        name,
        len(rows),
        tuple(rows.x.shape[1:]),
        str(rows.x.dtype),
        byte,
        missing=int(holes.any(axis=1).sum()),
        columns=tuple(np.flatnonzero(holes.any(axis=0)).tolist()) if rows.x.ndim == 2 else (),
        doubled=doubled(rows.x, rows.y),
        groups=None if rows.groups is None else len(np.unique(rows.groups)),
        answers=_ANSWERS[task](rows.y),
    )


def _holes(x: NDArray[Any]) -> NDArray[np.bool_]:
    """Where x (N, ...) is NaN or infinite, (N, K); K is zero for numbers that cannot be."""
    if x.dtype.kind != "f":
        return np.zeros((len(x), 0), dtype=bool)
    holes: NDArray[np.bool_] = ~np.isfinite(x).reshape(len(x), -1)
    return holes


def _shared_groups(one: NDArray[Any] | None, other: NDArray[Any] | None) -> int:
    return 0 if one is None or other is None else len(np.intersect1d(one, other))
