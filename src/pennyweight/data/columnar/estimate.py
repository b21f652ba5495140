"""How small rows would be packed, told from a sample of them in milliseconds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.data.columnar.column import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SAMPLE_BYTE = 1 << 18
_LEAST, _MOST = 64, 8192  # rows of the sample
_AROUND_BYTE = 250  # per column of a Parquet file: what it says of itself


def packs_to(columns: Sequence[NDArray[Any]]) -> float:
    """The bytes of `columns`, each (N, ...), when packed, as a share of what they are; at most 1.

    A sample spread over the rows is stored as `columnar` would and compressed by the fastest setting of zlib, which
    comes within about a quarter of zstd.
    """
    raw = sum(each.nbytes for each in columns)
    packed = sum(_packed(each) for each in columns)
    return min(1.0, packed / raw) if raw else 1.0


def _packed(rows: NDArray[Any]) -> float:
    if rows.dtype.kind not in "fiub" or not rows.size:
        return float(rows.nbytes)
    wanted = min(_MOST, max(_LEAST, _SAMPLE_BYTE * len(rows) // rows.nbytes))
    sample = rows[:: max(1, len(rows) // wanted)][:wanted]
    column = column_of("", sample)
    codes = np.ascontiguousarray(column.encode(sample))
    body = codes.reshape(len(codes), -1).view(np.uint8)
    if column.floats:
        body = np.ascontiguousarray(body.T)
    return _AROUND_BYTE + len(zlib.compress(body.tobytes(), 1)) * len(rows) / len(sample)
