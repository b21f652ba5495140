"""Fit what ships: every kind of table learns from all of its published rows, and what it learned is written as JSON.

    python -m bench.fit [--data DIR] [NAME …]

One file per kind in src/pennyweight/catalog/fits, small and with its sources; the measurements themselves stay outside.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.heldout import DATA
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.finding import kind_of, tables

if TYPE_CHECKING:
    from pennyweight.layout.tables.table import Table

FITS = Path(__file__).resolve().parents[1] / "src" / "pennyweight" / "catalog" / "fits"
DIGITS = 6


def main() -> None:
    """Fit the kinds that are named, or all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", help="kinds of tables; without any, all")
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    asked = options.parse_args()
    FITS.mkdir(exist_ok=True)
    for name, kind in tables().items():
        rows = rows_of(kind, asked.data) if not asked.names or name in asked.names else None
        if rows is not None:
            target = FITS / f"{name}.json"
            target.write_text(json.dumps(rounded(kind.learn(rows).to_dict()), separators=(",", ":")) + "\n")
            print(f"{name}: {len(rows)} rows, {target.stat().st_size / 1000:.0f} kB")


def rows_of(kind: Table, data: Path) -> Rows | None:
    """The rows of all files under `data` that are of this `kind`, one after the other; None without any."""
    found = [rows for path in sorted(data.rglob("*.csv")) if (rows := _of(kind, path)) is not None]
    if not found:
        return None
    shared = set.intersection(*(set(rows.columns) for rows in found))
    columns = {
        name: np.concatenate([rows.columns[name] for rows in found]) for name in found[0].columns if name in shared
    }
    return Rows(columns, np.concatenate([rows.lines for rows in found]))


def _of(kind: Table, path: Path) -> Rows | None:
    with path.open(encoding="utf-8-sig") as file:
        if not kind.columns <= set(next(csv.reader(file), [])):
            return None
    rows = Rows.read(path)
    return rows if kind_of(rows) is kind else None


def rounded(body: Any) -> Any:
    """The same with as many digits as the measurements deserve."""
    if isinstance(body, dict):
        return {name: rounded(each) for name, each in body.items()}
    if isinstance(body, list | tuple):
        return [rounded(each) for each in body]
    return float(f"{body:.{DIGITS}g}") if isinstance(body, float) else body


if __name__ == "__main__":
    main()
