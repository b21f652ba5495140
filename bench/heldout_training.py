"""Errors on training steps of models, shapes and layouts never seen; and what a choice by prediction costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import HeldOut, Line, folds_of, held_out, line_of, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import megatron_published, mpt, nemo, vtrain
from pennyweight.layout.tables.steps import STEP, names
from pennyweight.layout.timing.step import model_flop

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.layout.tables.steps import Reading
    from pennyweight.layout.tables.table import Table

    Mask = NDArray[np.bool_]


def results(data: Path) -> list[Line]:
    """A line per table and split, each with that of one constant utilisation; then what a ranking costs."""
    return [
        *_vtrain(data / "training"),
        *_published(data / "training"),
        *_mpt(data / "training"),
        *_nemo(data / "training"),
    ]


def _vtrain(folder: Path) -> list[Line]:
    rows = Rows.read(folder / "train_vtrain_a100.csv")
    single = np.char.startswith(rows.text("set"), "single")
    asked = (vtrain.TABLE, vtrain.READING)
    alone, many = rows.take(single), rows.take(~single)
    found = [
        *_lines(asked, alone, ("shape", "vtrain single node", 0.04)),
        *_lines(asked, alone, ("layout", "vtrain single node", 0.05)),
        *_lines(asked, many, ("shape", "vtrain many nodes", 0.08)),
    ]
    places = ("layers", "hidden", "n_gpus", "global_batch")
    for name, part in (("vtrain single node", alone), ("vtrain many nodes", many)):
        found.append(_regret(name, asked[0], part, places))
    return found


def _published(folder: Path) -> list[Line]:
    rows = Rows.read(folder / "train_megatron_published.csv")
    kept = ~np.char.startswith(rows.text("table"), "Megatron-LM README")
    asked = (megatron_published.TABLE, megatron_published.READING)
    return _lines(asked, rows, ("model", "SC21 and Korthikanti", 0.03), kept)


def _mpt(folder: Path) -> list[Line]:
    rows = Rows.read(folder / "train_llmfoundry_mpt.csv")
    return _lines((mpt.TABLE, mpt.READING), rows, ("model", "MPT", 0.05))


def _nemo(folder: Path) -> list[Line]:
    rows = Rows.read(folder / "train_nvidia_nemo_megatron_bridge.csv")
    dense = nemo.READING.read(rows).kind == "dense"
    asked = (nemo.TABLE, nemo.READING)
    of_dense = _lines(asked, rows, ("model", "NeMo dense", 0.06), dense)
    return [*of_dense, *_lines(asked, rows, ("model", "NeMo experts", 0.12), ~dense)]


def _lines(
    asked: tuple[Table, Reading], rows: Rows, told: tuple[str, str, float], kept: Mask | None = None
) -> list[Line]:
    """The line of `kept` rows, and that of the baseline; all rows are learned from."""
    kind, reading = asked
    split, name, wanted = told
    used = np.ones(len(rows), dtype=np.bool_) if kept is None else kept
    found = held_out(kind, rows, split)[STEP]
    line = line_of((name, STEP, split), _of(found, used), wanted)
    plain = line_of(("  one utilisation", STEP, split), _of(_constant(kind, reading, rows, split), used), None)
    return [line, replace(plain, covered=float("nan"), width=float("nan"))]


def _of(found: HeldOut, used: Mask) -> HeldOut:
    return HeldOut(found.measured[used], found.value[used], found.low[used], found.high[used], found.seconds_row)


def _constant(kind: Table, reading: Reading, rows: Rows, split: str) -> HeldOut:
    """FLOP over the rate of large products, times the median factor of the other groups' rows on the same machine.

    Of a machine that only this group was measured on, the median of all others' rows of this kind.
    """
    measured, asked = kind.measured(rows)[STEP], reading.read(rows)
    plain = model_flop(asked.cases) / asked.cases.machine.flop_s
    machine = names(asked.kind, np.broadcast_to(asked.cases.machine.flop_s, plain.shape))
    value = np.full(len(rows), np.nan)
    for inside in folds_of(kind.groups(rows, split), 10):
        for each in np.unique(machine[inside]).tolist():
            mine = inside & (machine == each)
            others = (machine == each) & ~inside
            others = others if others.any() else (asked.kind == asked.kind[mine][0]) & ~inside
            value[mine] = np.median((measured / plain)[others]) * plain[mine]
    return HeldOut(measured, value, value, value, 0.0)


def _regret(name: str, kind: Table, rows: Rows, places: tuple[str, ...]) -> Line:
    """How much slower the layout predicted to be fastest is than the fastest measured, layouts being held out."""
    found = held_out(kind, rows, "layout")[STEP]
    keys = np.stack([rows.text(each) for each in places], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    groups = [np.flatnonzero(group.reshape(-1) == each) for each in range(group.max() + 1)]
    compared = [at for at in groups if len(at) > 1]
    best = np.array([found.measured[at].min() for at in compared])
    chosen = np.array([found.measured[at[np.argmin(found.value[at])]] for at in compared])
    line = line_of((name, "regret of the choice", "layout"), HeldOut(best, chosen, best, chosen, 0.0), 0.02)
    return replace(line, covered=float("nan"), width=float("nan"))


if __name__ == "__main__":
    report(results)
