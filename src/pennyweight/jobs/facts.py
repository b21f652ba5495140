"""What can be read off the data itself: sizes, holes, duplicates, scale, and the name of it all by content."""

from __future__ import annotations

import contextlib
import inspect
import re
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import DataSpec, Task
from pennyweight.data.columnar.estimate import packs_to
from pennyweight.data.texts import padding_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from hashlib import _Hash as Hash

    from torch import nn

    from pennyweight.data.splits import Arrays, Splits

_FAR = 3.0
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def data_spec(rows: Arrays, task: Task, classes: int, *, unlabelled: int = 0) -> DataSpec:
    """Measure the training rows: how many, how large, which share is missing or double, whether x is scaled.

    `unlabelled` is how many there are besides, without labels.
    """
    x, y = rows.x, rows.y
    row_byte = (x.nbytes + y.nbytes) / len(rows)
    shape = tuple(x.shape[1:])
    share = packs_to((x, y))
    dirt = _missing(x), _duplicates(x, y), _scaled(x)
    padding, joins = padding_of(y) if task is Task.LANGUAGE else (0.0, 1.0)
    known = DataSpec(len(rows), row_byte, task, classes, *dirt, shape, packs=share, unlabelled=unlabelled)
    return replace(known, padding=padding, joins=joins)


def fingerprint(splits: Splits, *, model: Iterable[str]) -> str:
    """The SHA-256 of all rows and of the texts that describe the model; addresses in memory do not count."""
    whole = _hashed(model)
    for part in (splits.train, splits.select, splits.certify):
        for column in (part.x, part.y, part.groups, part.weight):
            if column is not None:
                whole.update(f"{column.dtype.str}{column.shape}".encode())
                whole.update(np.ascontiguousarray(column).data)
    if splits.unlabelled is not None:
        whole.update(f"unlabelled{splits.unlabelled.shape}".encode())
        whole.update(np.ascontiguousarray(splits.unlabelled).data)
    return whole.hexdigest()


def extended(name: str, texts: Iterable[str]) -> str:
    """The SHA-256 of the fingerprint `name` and of further texts."""
    return _hashed([name, *texts]).hexdigest()


def described(model: nn.Module) -> list[str]:
    """The texts that tell a module from others: what it prints, the code of its classes, the shapes of its tensors."""
    return [repr(model), *_sources(model), *(f"{key}{tuple(each.shape)}" for key, each in model.state_dict().items())]


def weights_of(model: nn.Module) -> list[str]:
    """The SHA-256 of every tensor of a module that is not made anew each time."""
    return [sha256(each.detach().numpy().tobytes()).hexdigest() for each in model.state_dict().values()]


def _sources(model: nn.Module) -> list[str]:
    """The code of the classes that are not torch's own, where it can be read: what repr() does not show."""
    kinds = {type(each) for each in model.modules() if not type(each).__module__.startswith("torch.")}
    texts = []
    for kind in sorted(kinds, key=lambda each: each.__qualname__):
        with contextlib.suppress(OSError, TypeError):
            texts.append(inspect.getsource(kind))
    return texts


def _hashed(texts: Iterable[str]) -> Hash:
    whole = sha256()
    for text in texts:
        whole.update(_ADDRESS.sub("", text).encode())
        whole.update(b"\0")
    return whole


def _missing(x: np.ndarray) -> float:
    if x.dtype.kind != "f":
        return 0.0
    return float((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).mean())


def _duplicates(x: np.ndarray, y: np.ndarray) -> float:
    pairs = zip(np.ascontiguousarray(x), np.ascontiguousarray(y), strict=True)
    seen = {hash(one.tobytes() + other.tobytes()) for one, other in pairs}
    return 1 - len(seen) / len(x)


def _scaled(x: np.ndarray) -> bool:
    """Whether values are of about unit size: mean and deviation of every column (of a table) within ±3."""
    if x.dtype.kind != "f":
        return x.dtype.kind == "i" and x.dtype.itemsize == 8  # tokens have no scale
    columns = x if x.ndim == 2 else x.reshape(-1, 1)
    known = columns[:, np.isfinite(columns).any(axis=0)].astype(float)
    known = np.where(np.isfinite(known), known, np.nan)
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    return bool(np.all(np.abs(mean) <= _FAR) and np.all(deviation <= _FAR))
