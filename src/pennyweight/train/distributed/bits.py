"""Small whole numbers in few bits: fixed widths, and Rice codes for increasing indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Indices = NDArray[np.int64]


def pack_codes(codes: Codes, width: int) -> Codes:
    """`codes` (N,), each below 2**`width`, as ceil(N · width / 8) bytes."""
    if width == 8:
        return codes
    bits = np.unpackbits(codes[:, None], axis=1)[:, 8 - width :]
    return np.packbits(bits.reshape(-1))


def unpack_codes(packed: Codes, width: int, count: int) -> Codes:
    """The `count` codes in `packed`."""
    if width == 8:
        return packed[:count]
    bits = np.unpackbits(packed, count=count * width).reshape(count, width)
    padded = np.zeros((count, 8), dtype=np.uint8)
    padded[:, 8 - width :] = bits
    return np.packbits(padded, axis=1)[:, 0]


def pack_indices(indices: Indices, count: int) -> Codes:
    """Increasing `indices` (K,) below `count`: each gap as a Rice code, near the least bits for gaps at random.

    A gap g is g // 2**b in unary and its b lowest bits, b fitted to the mean gap (Rice and Plaunt, 1971).
    """
    gaps = np.diff(indices, prepend=-1) - 1
    low = _low_bits(count, len(indices))
    ends = np.cumsum(gaps >> low) + np.arange(len(gaps))
    unary = np.zeros(int(ends[-1]) + 1, dtype=np.uint8)
    unary[ends] = 1
    return np.concatenate((_low(gaps, low), np.packbits(unary)))


def unpack_indices(packed: Codes, count: int, size: int) -> tuple[Indices, int]:
    """The `size` indices below `count` that begin `packed`, and how many bytes they took."""
    low = _low_bits(count, size)
    fixed = (size * low + 7) // 8
    bits = np.unpackbits(packed[:fixed], count=size * low).reshape(size, low).astype(np.int64)
    rests = bits @ (1 << np.arange(low - 1, -1, -1, dtype=np.int64))
    # A Rice code has at most one unary bit per index and one for each 2**low skipped.
    longest = size + (count >> low)
    ends = np.flatnonzero(np.unpackbits(packed[fixed : fixed + (longest + 7) // 8]))[:size]
    quotients = np.diff(ends, prepend=-1) - 1
    indices = np.cumsum((quotients << low) + rests + 1) - 1
    return indices, fixed + int(ends[-1]) // 8 + 1


def _low(gaps: Indices, low: int) -> Codes:
    if low == 0:
        return np.empty(0, dtype=np.uint8)
    shifts = np.arange(low - 1, -1, -1)
    bits: NDArray[Any] = (gaps[:, None] >> shifts) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1))


def _low_bits(count: int, size: int) -> int:
    """The width that suits geometric gaps of this mean: ln 2 of it (Golomb, 1966)."""
    return max(0, round(float(np.log2(max(1.0, np.log(2) * count / size)))))
