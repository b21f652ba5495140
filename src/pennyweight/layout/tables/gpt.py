"""Models that a table describes by their dimensions: decoders of the GPT-2 kind, and the columns that say them.

What a row does not say of its model follows from the rest of it as usual in such models (four times as wide inside,
heads of 128, the vocabulary of GPT-2), or from the name of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.cost.nearest_model import nearest_model
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.standing import joined
from pennyweight.layout.timing.cases import Models

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

OFF = 0.2  # how far off rows are beside all else where their sizes are not said, of logarithms
SIZES = ("layers", "hidden", "heads", "ffn", "vocab", "seq_len")
_VOCAB, _HEAD, _WIDER = 51200.0, 128.0, 4.0
_DEGREES = ("tp", "pp", "dp")
_OTHERS = (1, 128, 1, 512, 1024, 128)
_MOST = 1e9  # of any size


@dataclass(frozen=True, slots=True)
class Told:
    """Of rows (n): sizes (n, 6), numbers by name (n,), ones where not `usable`, and what stands in for those unsaid."""

    sizes: NDArray[np.float64]
    number: dict[str, NDArray[np.float64]]
    usable: NDArray[np.bool_]
    standing: NDArray[np.str_]


def sizes_of(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """The sizes (n, 6) of each row's model, zero where nothing says them, and what (n,) stands in for those unsaid."""
    found = np.stack([rows.number(name) for name in SIZES], axis=1)
    found = np.where((found >= 1) & (found < _MOST), found, 0.0)
    notes = np.full(len(rows), "", dtype=object)
    for at in np.flatnonzero((found[:, :5] == 0).any(axis=1)).tolist():
        found[at, :5], notes[at] = _completed(found[at, :5], _name(rows, at))
    return found, notes.astype(np.str_)


def told_of(rows: Rows, *needed: str) -> Told:
    """What each row says of its model, and the numbers that a step `needed`."""
    sizes, notes = sizes_of(rows)
    number = {name: rows.number(name) for name in needed}
    _derive(number, rows.number("n_gpus"))
    if "micro_batch" in number:
        unsaid = ~(number["micro_batch"] > 0)
        number["micro_batch"] = np.where(unsaid, 1.0, number["micro_batch"])
        notes = joined(notes, np.where(unsaid, "its micro-batch is taken as one", ""))
    number |= {name: sizes[:, at] for at, name in ((0, "layers"), (1, "hidden"), (5, "seq_len"))}
    usable = (sizes > 0).all(axis=1) & np.all([(each > 0) & (each < _MOST) for each in number.values()], axis=0)
    return Told(sizes, {name: np.where(usable, each, 1.0) for name, each in number.items()}, usable, notes)


def models(told: Told) -> Models:
    """The models (n) of rows; of those that are not usable, one that is of no use."""
    sizes = np.where(told.usable[:, None], told.sizes, _OTHERS)
    different, which = np.unique(sizes, axis=0, return_inverse=True)
    return Models.of([_gpt(*map(int, each)) for each in different.tolist()]).take(which.reshape(-1))


def _derive(number: dict[str, NDArray[np.float64]], devices: NDArray[np.float64]) -> None:
    """Fill in the one of three degrees that a row does not say: what is left of its devices."""
    if not set(_DEGREES) <= number.keys():
        return
    for name in _DEGREES:
        one, other = (number[each] for each in _DEGREES if each != name)
        left = devices / (one * other)
        follows = ~(number[name] > 0) & (left >= 1) & (left == np.round(left))
        number[name] = np.where(follows, left, number[name])


def _completed(sizes: NDArray[np.float64], name: str) -> tuple[list[float], str]:
    """Five sizes of which some are zero, with these filled in; and what was made of it."""
    layers, hidden, heads, ffn, vocab = sizes.tolist()
    note = "sizes that the row does not say are the usual ones"
    if not (layers and hidden):
        try:
            near = nearest_model(name)
        except UnknownNameError:
            return [layers, hidden, heads, ffn, vocab], ""
        d, note = near.dims, near.note or f"sizes are those of {near.dims.name}"
        layers, hidden, heads, ffn = float(d.layers), float(d.hidden), float(d.heads), float(d.ffn or d.moe_ffn)
        vocab = vocab or float(d.vocab)
    return [layers, hidden, heads or max(round(hidden / _HEAD), 1.0), ffn or _WIDER * hidden, vocab or _VOCAB], note


def _name(rows: Rows, at: int) -> str:
    """What the row calls its model; where it does not, its parameters in billions."""
    if "model" in rows.columns:
        return str(rows.columns["model"][at])
    size = str(rows.columns["params_b"][at]).strip() if "params_b" in rows.columns else ""
    return f"decoder-{size}b" if size else ""


def _gpt(*sizes: int) -> Dims:
    layers, hidden, heads, ffn, vocab, sequence = sizes
    heads = heads if heads <= hidden else 1
    return Dims("gpt", layers, hidden, heads, ffn, vocab, gated=False, bias=True, tied=True, positions=sequence)
