"""Held-out errors of memory: `python -m bench.heldout_memory --data FOLDER`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.heldout import lines, report
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import bigscience, golden, korthikanti

if TYPE_CHECKING:
    from pathlib import Path

    from bench.heldout import Line

_WANTED = 0.04


def results(data: Path) -> list[Line]:
    """Every memory table, every way of holding groups out."""
    rows = Rows.read(data / "training" / "train_megatron_ci_golden.csv")
    wanted = {(split, "peak_byte"): _WANTED for split in golden.TABLE.splits}
    found = lines(golden.TABLE, rows, wanted)
    published = Rows.read(data / "training" / "train_memory_korthikanti.csv")
    found += lines(korthikanti.TABLE, published, {("model", each): _WANTED for each in korthikanti.TABLE.targets})
    return found + lines(bigscience.TABLE, Rows.read(data / "training" / "train_bigscience.csv"), {})


if __name__ == "__main__":
    report(results)
