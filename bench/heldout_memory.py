"""Held-out errors of memory: `python -m bench.heldout_memory --data FOLDER`."""

from __future__ import annotations

from dataclasses import replace
from itertools import starmap
from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import held_out, line_of, lines, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import bigscience, golden, korthikanti

if TYPE_CHECKING:
    from pathlib import Path

    from bench.heldout import HeldOut, Line

_WANTED = 0.04
_EXACT = 0.002  # of the figure, or of the whole that it is a share of: as it was published


def results(data: Path) -> list[Line]:
    """Every memory table, every way of holding groups out."""
    rows = Rows.read(data / "training" / "train_megatron_ci_golden.csv")
    wanted = {(split, "peak_byte"): _WANTED for split in golden.TABLE.splits}
    found = lines(golden.TABLE, rows, wanted)
    published = Rows.read(data / "training" / "train_memory_korthikanti.csv")
    found += list(starmap(arithmetic, held_out(korthikanti.TABLE, published, "model").items()))
    return found + lines(bigscience.TABLE, Rows.read(data / "training" / "train_bigscience.csv"), {})


def arithmetic(target: str, found: HeldOut) -> Line:
    """A line of arithmetic; where every figure is met as it was published, it says so in place of a coverage."""
    line = line_of((korthikanti.TABLE.name, target, "model"), found, _WANTED)
    known = np.isfinite(found.measured)
    off = np.abs(found.value - found.measured)[known]
    if (off > _EXACT * np.maximum(found.measured[known], 1.0)).any():
        return line
    return replace(line, name=f"{line.name}, exact", covered=float("nan"))


if __name__ == "__main__":
    report(results)
