"""Models that a table describes by their dimensions: decoders of the GPT-2 kind, and the columns that say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.layout.cases import Models

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.tables.rows import Rows

SIZES = ("layers", "hidden", "heads", "ffn", "vocab", "seq_len")


def complete(rows: Rows, *more: str) -> NDArray[np.bool_]:
    """Which rows (n,) say the dimensions of their model and what else (`more`) a step needs, all above zero."""
    found = np.ones(len(rows), dtype=np.bool_)
    for name in (*SIZES, *more):
        found &= rows.number(name) > 0
    return found


def models(rows: Rows, usable: NDArray[np.bool_]) -> Models:
    """The models (n) of rows that say them; of others, one that stands in."""
    sizes = np.stack([rows.number(name) for name in SIZES], axis=1)
    sizes[~usable] = (1, 128, 1, 512, 1024, 128)
    different, which = np.unique(sizes, axis=0, return_inverse=True)
    return Models.of([_gpt(*map(int, each)) for each in different.tolist()]).take(which.reshape(-1))


def _gpt(*sizes: int) -> Dims:
    layers, hidden, heads, ffn, vocab, sequence = sizes
    return Dims("gpt", layers, hidden, heads, ffn, vocab, gated=False, bias=True, tied=True, positions=sequence)
