"""Data as people hold it (arrays, loaders, splits) as three disjoint splits of arrays."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHARES = (0.6, 0.2, 0.2)
_PARTS = ("train", "select", "certify")


def as_splits(
    data: Any,
    *,
    shares: tuple[float, float, float] = _SHARES,
    groups: Any = None,
    stratify: bool = True,
    seed: int = 0,
) -> Splits:
    """Turn `data` into splits.

    It may be `Splits`; `(x, y)` arrays or one torch `DataLoader` or `Dataset`, which are dealt by `shares`
    (stratified, whole `groups`); or three of these: train, select, certify.
    """
    if isinstance(data, Splits):
        return data
    if isinstance(data, tuple | list) and len(data) == len(_PARTS):
        return Splits(*starmap(_rows, zip(data, _PARTS, strict=True)))
    x, y = _arrays(data, "the data")
    groups = data.groups if groups is None and isinstance(data, Arrays) else groups
    if groups is not None and len(groups) != len(x):
        raise BadInputError(f"There are {len(x)} rows but {len(groups)} groups.", "give one group per row.")
    return split(x, y, shares=shares, groups=groups, stratify=stratify, seed=seed)


def from_loader(loader: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read a torch `DataLoader` or `Dataset` into arrays x (N, ...) and y (N, ...), in the order of the data set.

    Shuffling, batching and dropped last batches of a loader are passed by: its rows are read one by one. Random
    transforms are drawn once.
    """
    pairs = list(_pairs(loader))
    if not pairs:
        raise BadInputError("The data loader gives no rows.", "give one that is not empty.")
    x, y = zip(*pairs, strict=True)
    shapes = {each.shape for each in x}
    if len(shapes) > 1:
        several = ", ".join(map(str, sorted(shapes)[:3]))
        raise BadInputError(f"The rows differ in shape: {several}.", "resize or pad them to one shape.")
    return np.stack(x), np.stack(y)


def _rows(data: Any, name: str) -> Arrays:
    return data if isinstance(data, Arrays) else Arrays(*_arrays(data, name))


def _arrays(data: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(data, Arrays):
        return data.x, data.y
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = (_array(part) for part in data)
    elif hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        x, y = from_loader(data)
    else:
        raise BadInputError(
            f"{name} is a {type(data).__name__}, not rows.", "give (x, y) arrays or a torch DataLoader."
        )
    if len(x) != len(y):
        raise BadInputError(f"{name} has {len(x)} rows of x but {len(y)} of y.", "give one label per row.")
    if len(x) == 0:
        raise BadInputError(f"{name} has no rows.", "give some.")
    _refuse_objects(x, y, name)
    return x, y


def _refuse_objects(x: np.ndarray, y: np.ndarray, name: str) -> None:
    for what, each in (("x", x), ("y", y)):
        if each.dtype.kind not in "fiub":
            raise BadInputError(
                f"{what} of {name} holds {'objects' if each.dtype.kind == 'O' else 'text or dates'}, not numbers.",
                "turn it into numbers first: numpy.unique(labels, return_inverse=True) numbers classes from 0.",
            )


def _array(part: Any) -> np.ndarray:
    if hasattr(part, "detach"):
        part = part.detach().cpu().numpy()
    try:
        return np.asarray(part)
    except ValueError as error:
        raise BadInputError("The rows differ in shape.", "resize or pad them to one shape.") from error


def _pairs(loader: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    dataset = getattr(loader, "dataset", loader)
    rows: Iterable[Any]
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        rows = (dataset[number] for number in range(len(dataset)))
    else:
        rows = dataset
    for row in rows:
        if not isinstance(row, tuple | list) or len(row) != 2:
            raise BadInputError("The data loader does not give pairs.", "let it give (input, label).")
        yield _array(row[0]), _array(row[1])
