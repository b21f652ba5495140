"""Texts of different lengths in rows of one length: each in a row of its own, or several to a row by best fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.splits import Arrays
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Lengths = NDArray[np.intp]

PADDING = -100
"""The label of a place that holds no token, which no loss and no metric counts."""


def padded(texts: Sequence[NDArray[Any]], length: int) -> Arrays:
    """A row of `length` tokens for each text, and after each token the next; what is left of a row is padding.

    Of texts longer than ``length + 1`` the rest is left out; those of fewer than two tokens have nothing to predict and
    are left out too.
    """
    long = [np.asarray(text)[: length + 1] for text in texts if len(text) > 1]
    if not long:
        raise BadInputError("No text has two tokens.", "give longer texts.")
    x = np.zeros((len(long), length), np.int64)
    y = np.full((len(long), length), PADDING, np.int64)
    for row, text in enumerate(long):
        x[row, : len(text) - 1], y[row, : len(text) - 1] = text[:-1], text[1:]
    return Arrays(x, y)


def lengths(y: NDArray[Any]) -> Lengths:
    """How far each row of labels (N, T) goes before nothing but padding is left of it, (N,)."""
    real = y >= 0
    ends: Lengths = y.shape[1] - np.argmax(real[:, ::-1], axis=1)
    return np.where(real.any(axis=1), ends, 0)


def best_fit(sizes: Lengths, room: int) -> list[list[int]]:
    """Which texts of `sizes` (N,), none above `room`, share a row of `room` places: the longest first, tightest fit.

    Best-fit decreasing over a histogram of what rows have left, as in Krell et al. 2021, Efficient Sequence Packing
    without Cross-contamination (arXiv:2107.02027), whose longest-pack-first is this. Time grows with N log N.
    """
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(room + 1)]  # by the places they have left
    left = 0  # the bit of every number of places that some row has left
    for text in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[text])
        fitting = left >> size
        if fitting:
            places = size + (fitting & -fitting).bit_length() - 1
            row = open_rows[places].pop()
            left ^= (not open_rows[places]) << places
            rows[row].append(text)
        else:
            places, row = room, len(rows)
            rows.append([text])
        open_rows[places - size].append(row)
        left |= 1 << (places - size)
    return rows


def padding_of(y: NDArray[Any]) -> tuple[float, float]:
    """The share of the places of rows (N, T) that is padding, and the share of the rows that would do, by best fit."""
    if y.ndim != 2 or not (y < 0).any():
        return 0.0, 1.0
    sizes = lengths(y)
    return 1 - float(sizes.sum()) / y.size, len(best_fit(sizes, y.shape[1])) / len(y)


def joined(rows: Arrays, separator: int | None = None) -> Arrays:
    """The same texts, several to a row of the same length, and for every place which of them it belongs to.

    With a `separator`, that token stands between two texts, and nothing follows it that is to be predicted.
    """
    length, gap, sizes = rows.x.shape[1], int(separator is not None), lengths(rows.y)
    shared = best_fit(sizes + gap, length + gap)
    x = np.zeros((len(shared), length), rows.x.dtype)
    y = np.full((len(shared), length), PADDING, rows.y.dtype)
    texts = np.zeros((len(shared), length), np.int16)
    for row, members in enumerate(shared):
        at = 0
        for number, text in enumerate(members):
            size = int(sizes[text])
            place = slice(at, at + size)
            x[row, place], y[row, place] = rows.x[text, :size], rows.y[text, :size]
            at += size + gap
            texts[row, place.start :] = number
            if gap and at <= length:
                x[row, at - 1] = separator
        texts[row, at:] = len(members)
    return Arrays(x, y, texts=texts if separator is None else None)
