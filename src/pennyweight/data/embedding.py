"""Rows as a few numbers each, so that near rows are alike: principal components of values, or of counted tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_BINS = 1024  # of counted tokens and pairs of tokens
_FITTED = 20_000  # rows that the components are taken from
_PAIR = 1_000_003


def embedded(x: NDArray[Any], *, components: int = 32, seed: int = 0) -> Floats:
    """Rows `x` (N, ...) as (N, at most `components`): principal components, the first of unit variance.

    Whole numbers are tokens and count by themselves and in pairs; columns of a table are scaled to one deviation,
    pixels and samples are not, for their size says something. Holes take their column's mean. Time grows with
    N · values · components, memory with N · values.
    """
    flat = columns(x)
    centred = flat - flat.mean(axis=0)
    rank = min(components, *centred.shape)
    found: Floats = centred @ _basis(centred, rank, seed)
    found /= max(float(found[:, 0].std()), 1e-12)
    return found


def columns(x: NDArray[Any]) -> Floats:
    """Rows as columns (N, K) without holes, comparable by their distance."""
    if x.dtype.kind in "iub":
        return counted(x)
    flat = x.reshape(len(x), -1).astype(np.float32)
    known = np.isfinite(flat)
    if not known.all():
        mean = np.divide(np.where(known, flat, 0).sum(axis=0), np.maximum(1, known.sum(axis=0)))
        flat = np.where(known, flat, mean)
    if x.ndim > 2:
        return flat
    scale = flat.std(axis=0)
    scaled: Floats = (flat / np.where(scale > 0, scale, 1)).astype(np.float32)
    return scaled


def counted(x: NDArray[Any]) -> Floats:
    """How often each token and each pair of neighbours occurs in rows (N, T), hashed to (N, 1024), square roots."""
    tokens = x.reshape(len(x), -1).astype(np.int64)
    pairs = tokens[:, :-1] * _PAIR + tokens[:, 1:] + 1
    bins = np.concatenate([_hashed(tokens), _hashed(pairs)], axis=1)
    found = np.zeros((len(x), _BINS), np.float32)
    np.add.at(found, (np.arange(len(x))[:, None], bins), 1)
    return np.sqrt(found)


def _hashed(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Names in bins; multiplied by the golden ratio in 64 bits (Knuth, The Art of Computer Programming, 6.4)."""
    mixed = names.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(54)).astype(np.int64) % _BINS


def _basis(flat: Floats, rank: int, seed: int) -> Floats:
    from sklearn.utils.extmath import randomized_svd

    rows = flat
    if len(flat) > _FITTED:
        rows = flat[np.sort(np.random.default_rng(seed).permutation(len(flat))[:_FITTED])]
    _, _, directions = randomized_svd(rows, rank, random_state=seed)
    basis: Floats = np.ascontiguousarray(directions.T, dtype=np.float32)
    return basis
