"""What no row of any table can say: counts below zero; and degrees of parallelism that its devices contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.rows import NoNumberError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

_DEGREES = ("tp", "pp", "dp", "cp")
_DEVICES = ("devices", "n_gpus")
_BATCHES = ("micro_batch", "global_batch", "gbs", "global_batch_size", "batch_size", "max_num_seqs", "concurrency")
_LENGTHS = ("isl", "osl", "prompt_tokens", "output_tokens", "sequence", "seq_len")
_SPREAD = ("ep", "vp", "tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size", "num_gpus", "n_accel")
_SIZES = ("nodes", "layers", "hidden", "heads", "ffn", "vocab", "power_limit")
_COUNTS = _DEGREES + _DEVICES + _SPREAD + _BATCHES + _LENGTHS + _SIZES


def impossible(rows: Rows) -> NDArray[np.str_]:
    """What (n,) cannot be; nothing where all can."""
    notes = np.full(len(rows), "", dtype=object)
    for name in _COUNTS:
        if name in rows.columns:
            found = _numbers(rows, name)
            wrong = (found < 0) | np.isinf(found)
            notes[wrong] = [f"{name} is {value:g}: no count is" for value in found[wrong]]
    return notes.astype(np.str_)


def contradicted(rows: Rows) -> NDArray[np.str_]:
    """Where (n,) tensor, pipeline, data and context parallelism are another number of devices than stated."""
    said = np.full(len(rows), "", dtype=object)
    devices = next((name for name in _DEVICES if name in rows.columns), None)
    if devices is None or not {"tp", "pp", "dp"} <= rows.columns.keys():
        return said.astype(np.str_)
    degrees = [name for name in _DEGREES if name in rows.columns]  # a blank contradicts nothing
    found = np.prod([_numbers(rows, name) for name in degrees], axis=0)
    stated = _numbers(rows, devices)
    for at in np.flatnonzero(np.isfinite(found) & np.isfinite(stated) & (found != stated)):
        said[at] = f"{devices} is {stated[at]:g}, but {' · '.join(degrees)} is {found[at]:g}"
    return said.astype(np.str_)


def _numbers(rows: Rows, name: str) -> NDArray[np.float64]:
    """A column of numbers (n,), NaN where it has none."""
    try:
        return rows.number(name)
    except NoNumberError:
        return rows.blanked(name).number(name)
