"""Rows that are nearly equal, found without comparing all with all: hashes that near rows are likely to share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.embedding import columns
from pennyweight.data.splits import is_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Pairs = NDArray[np.intp]
    Far = NDArray[np.float64]

_TABLES = 24  # of hashes of values: what is found in none of them is not compared
_CROWD = 4.0  # rows far apart that may share a hash
_SLOTS = 4.0  # width of a hash's slots, in distances that still count as near
_WINDOW = 8  # rows of one hash that each is compared with
_HASHES, _BAND = 128, 4  # of sets of tokens: numbers in a signature, and those that make one hash
_SHINGLE = 3  # tokens in a row that are one member of a set
_PAIRS = 2000  # pairs of rows that tell how far two usually are apart
_CHUNK = 65_536
_MIX = np.uint64(0x9E3779B97F4A7C15)


def near_pairs(x: NDArray[Any], y: NDArray[Any], within: float, seed: int) -> tuple[Pairs, Far]:
    """Pairs (P, 2) of rows of `x` (N, ...) that are nearly equal, nearest first, and how far each is apart, (P,).

    Whole numbers are tokens: a row is the set of its runs of three, and far is one minus the share that two sets have
    in common (Jaccard), as MinHash estimates it (Broder 1997). Values: far is the distance, in units of that between
    two random rows; candidates share a hash of random projections (Datar et al. 2004). Only pairs `within` that, with
    equal classes or values of `y` within the same share of their deviation, count. Most such pairs are found, not all.
    Time grows with N · (values + log N).
    """
    tokens = x.dtype.kind in "iub"
    rows: Any = signatures(x, seed) if tokens else columns(x)
    unit = 1.0 if tokens else _usual(rows, seed)
    keys = _bands(rows) if tokens else _slots(rows, within * unit, unit, seed)
    pairs = _agreeing(_candidates(keys, len(x)), y, within)
    far = np.concatenate([_apart(rows, part, tokens=tokens) for part in _parts(pairs)]) / unit
    close = np.flatnonzero(far <= within)
    order = close[np.argsort(far[close], kind="stable")]
    return pairs[order], far[order]


def merged(pairs: Pairs, rows: int, most: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The rows that stay, ascending, when at most `most` go, and for how many each then stands, itself included.

    Pairs are taken in their order; a row that stands for another stays, so nothing is passed on along a chain.
    """
    times = np.ones(rows)
    for one, other in pairs.tolist():
        if most <= 0:
            break
        stays, goes = (one, other) if times[other] <= 1 else (other, one)
        if times[goes] == 1 and times[stays] > 0:
            times[stays] += 1
            times[goes] = 0
            most -= 1
    left = np.flatnonzero(times)
    return left, times[left]


def signatures(x: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """The MinHash signature (N, 128) of each row of tokens (N, T): equal entries estimate the share in common."""
    tokens = x.reshape(len(x), -1).astype(np.uint64)
    length = min(_SHINGLE, tokens.shape[1])
    runs = np.zeros((len(x), tokens.shape[1] - length + 1), np.uint64)
    for at in range(length):
        runs = (runs ^ (tokens[:, at : at + runs.shape[1]] + np.uint64(1))) * _MIX
    salts = np.random.default_rng(seed).integers(1, 2**63, size=_HASHES, dtype=np.uint64)
    return np.stack([_stirred(runs ^ salt).min(axis=1) for salt in salts], axis=1)


def _stirred(names: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Other names in which every bit depends on every bit (the finaliser of MurmurHash3)."""
    names = (names ^ (names >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    names = (names ^ (names >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return names ^ (names >> np.uint64(33))


def _bands(rows: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    for at in range(0, rows.shape[1], _BAND):
        yield _folded(rows[:, at : at + _BAND])


def _slots(rows: NDArray[np.float32], near: float, unit: float, seed: int) -> Iterator[NDArray[np.uint64]]:
    """For each table the hash of each row; as many projections make one that few rows far apart share it."""
    rng = np.random.default_rng(seed)
    slot = _SLOTS * max(near, 1e-9)
    share = min(0.95, _sharing(slot / unit))
    many = max(1, math.ceil(math.log(max(2.0, len(rows) / _CROWD)) / -math.log(share)))
    for _ in range(_TABLES):
        turns = rng.normal(size=(rows.shape[1], many)).astype(np.float32)
        places = np.floor((rows @ turns) / slot + rng.random(many))
        yield _folded(places.astype(np.int64).view(np.uint64))


def _sharing(width: float) -> float:
    """The chance that a hash with slots of `width` distances is shared (Datar et al. 2004, equation 2)."""
    beyond = math.erfc(width / math.sqrt(2))
    return 1 - beyond - 2 / (math.sqrt(2 * math.pi) * width) * (1 - math.exp(-(width**2) / 2))


def _folded(parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    whole = np.zeros(len(parts), np.uint64)
    for column in parts.T:
        whole = _stirred((whole ^ column) * _MIX)
    return whole


def _candidates(keys: Iterable[NDArray[np.uint64]], rows: int) -> Pairs:
    """Pairs (P, 2), first row first, that share a key; in a crowd each is paired with the eight that follow."""
    found = []
    for key in keys:
        order = np.argsort(key, kind="stable")
        for step in range(1, min(_WINDOW, rows - 1) + 1):
            same = np.flatnonzero(key[order[step:]] == key[order[:-step]])
            found.append(order[same] * rows + order[same + step])
    names = np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)
    return np.column_stack([names // rows, names % rows])


def _agreeing(pairs: Pairs, y: NDArray[Any], within: float) -> Pairs:
    one, other = y[pairs[:, 0]], y[pairs[:, 1]]
    if is_classes(y):
        same: Pairs = pairs[one == other]
        return same
    if y.dtype.kind != "f":
        return pairs
    off = np.abs(one - other).reshape(len(pairs), -1).max(axis=1, initial=0)
    alike: Pairs = pairs[off <= within * float(y.std())]
    return alike


def _usual(rows: NDArray[np.float32], seed: int) -> float:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(len(rows), size=(2, _PAIRS))
    return max(float(np.median(np.linalg.norm(rows[one] - rows[other], axis=1)[one != other])), 1e-9)


def _apart(rows: NDArray[Any], pairs: Pairs, *, tokens: bool) -> Far:
    one, other = rows[pairs[:, 0]], rows[pairs[:, 1]]
    far: Far = (one != other).mean(axis=1) if tokens else np.linalg.norm(one - other, axis=1).astype(float)
    return far


def _parts(pairs: Pairs) -> list[Pairs]:
    return np.split(pairs, range(_CHUNK, len(pairs), _CHUNK))
