"""Packed data as the three splits of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.columnar import Packed
from pennyweight.data.columnar.manifest import TOKENS
from pennyweight.data.columnar.writing import PARTS
from pennyweight.data.splits import Arrays, Splits, deal, is_classes, split
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SHARES = (0.6, 0.2, 0.2)


def read_columnar(
    path: str | Path,
    *,
    target: str | None = None,
    drop: Collection[str] = (),
    shares: tuple[float, float, float] = _SHARES,
    seed: int = 0,
) -> Splits:
    """Read packed data, of a folder or URL, as splits, bit for bit as it was packed.

    Train, select and certify stay what they were. One part, or a train and a test part, are dealt by `shares`: test
    rows become those to certify on. Of a table, `target` is the answer (by default what it was packed with), the other
    columns but `drop` are x.
    """
    packed = Packed.at(path)
    if packed.manifest.kind == TOKENS:
        raise BadInputError(f"{path} holds a stream of tokens.", "read it with TokenStream, or cut it into rows first.")
    names = list(packed.manifest.parts)
    if set(PARTS) <= set(names):
        return packed.splits()
    aim = target or packed.manifest.about.get("target")
    found = {name: _rows(packed, name, aim, drop) for name in names}
    if set(names) == {"train", "test"}:
        return _dealt(found["train"], found["test"], shares, seed)
    if len(names) != 1:
        raise BadInputError(f"{path} has the parts {', '.join(names)}.", f"pack one part, or {', '.join(PARTS)}.")
    only = found[names[0]]
    return split(only.x, only.y, groups=only.groups, shares=shares, seed=seed)


def _dealt(train: Arrays, test: Arrays, shares: tuple[float, float, float], seed: int) -> Splits:
    """Train and select out of the training rows, in the proportion of their shares."""
    whole = shares[0] + shares[1]
    classes = train.y if is_classes(train.y) else None
    two = (shares[0] / whole, shares[1] / whole)
    part = deal(len(train), two, classes=classes, groups=train.groups, seed=seed)
    return Splits(train.take(np.flatnonzero(part == 0)), train.take(np.flatnonzero(part == 1)), test)


def _rows(packed: Packed, part: str, target: str | None, drop: Collection[str]) -> Arrays:
    found = packed.arrays(part)
    if target is None and {"x", "y"} <= set(found):
        return Arrays(found["x"], found["y"], found.get("groups"), found.get("weight"))
    if target is None or target not in found:
        some = ", ".join(list(found)[:8])
        raise BadInputError(f"{packed.place.url} does not say which column is the answer.", f"give target, of: {some}.")
    return Arrays(_table(found, {target, *drop}), _answer(found[target]))


def _table(found: dict[str, Any], without: set[str]) -> np.ndarray:
    kept = {name: column for name, column in found.items() if name not in without}
    for name, column in kept.items():
        if column.dtype.kind not in "fiub" or column.ndim > 1:
            raise BadInputError(f"Column {name!r} holds no numbers.", f"leave it out: drop=[{name!r}].")
    if not kept:
        raise BadInputError("There is no column but the answer.", "pack features to learn from.")
    return np.column_stack([column.astype(np.float64) for column in kept.values()])


def _answer(column: np.ndarray) -> np.ndarray:
    return np.unique(column, return_inverse=True)[1].astype(np.int64) if column.dtype.kind in "US" else column
