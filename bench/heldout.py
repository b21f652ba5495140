"""Errors on groups never seen: learn on the others, predict this one, compare; what `heldout_*` benchmarks share."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows
    from pennyweight.layout.tables.table import Table

FOLDS = 10
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Line:
    """One line of the report: mean and median absolute percentage error over `rows` held-out rows, all as shares.

    `covered` is the share of rows inside the 90% interval, `answered` the share of complete rows that got a forecast;
    `width` the median of high / low; `seconds_row` what one prediction takes.
    """

    name: str
    target: str
    split: str
    rows: int
    mape: float
    median: float
    covered: float
    width: float
    answered: float
    seconds_row: float
    wanted: float | None = None


@dataclass(frozen=True)
class HeldOut:
    """What was measured and what was predicted of rows (n,) that were not learned from."""

    measured: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    seconds_row: float


def held_out(kind: Table, rows: Rows, split: str, folds: int = FOLDS) -> dict[str, HeldOut]:
    """Predict every group of `split` from the others; by target. Rows not measured are NaN."""
    measured = kind.measured(rows)
    found = {target: np.full((3, len(rows)), np.nan) for target in measured}
    cpu_s = 0.0
    for inside in folds_of(kind.groups(rows, split), folds):
        learnt = kind.learn(rows.take(~inside))
        began = time.process_time()
        forecasts = learnt.predict(rows.take(inside))
        cpu_s += time.process_time() - began
        for target, forecast in forecasts.items():
            found[target][:, inside] = forecast.value, forecast.low, forecast.high
    return {name: HeldOut(measured[name], each[0], each[1], each[2], cpu_s / len(rows)) for name, each in found.items()}


def folds_of(groups: NDArray[np.str_], folds: int) -> list[NDArray[np.bool_]]:
    """Masks of whole groups, dealt out so that folds are about equally large; one per group where there are few."""
    names, counts = np.unique(groups, return_counts=True)
    sizes, dealt = np.zeros(min(folds, len(names))), np.zeros(len(names), dtype=int)
    for at in np.argsort(-counts, kind="stable"):
        dealt[at] = int(np.argmin(sizes))
        sizes[dealt[at]] += counts[at]
    fold = dealt[np.searchsorted(names, groups)]
    return [fold == number for number in range(len(sizes))]


def lines(kind: Table, rows: Rows, wanted: dict[tuple[str, str], float]) -> list[Line]:
    """A line for each split and target of a table; `wanted` names the error to reach, by split and target."""
    return [
        line_of((kind.name, target, split), found, wanted.get((split, target)))
        for split in kind.splits
        for target, found in held_out(kind, rows, split).items()
    ]


def line_of(names: tuple[str, str, str], found: HeldOut, wanted: float | None) -> Line:
    """Sum up the rows that were measured."""
    known = np.isfinite(found.measured)
    told = known & np.isfinite(found.value)
    off = np.abs(found.value[told] / found.measured[told] - 1)
    inside = (found.low[told] <= found.measured[told]) & (found.measured[told] <= found.high[told])
    width = float(np.median(found.high[told] / found.low[told]))
    shares = float(inside.mean()), width, float(told.sum() / known.sum())
    return Line(*names, int(told.sum()), float(off.mean()), float(np.median(off)), *shares, found.seconds_row, wanted)


def report(results: Callable[[Path], Sequence[Line]]) -> None:
    """Read `--data`, print the lines as a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    show(results(options.parse_args().data))


def show(found: Sequence[Line]) -> None:
    """Print lines as a table."""
    heads = ["table", "target", "held out", "rows", "MAPE", "wanted", "median", "90% holds", "high/low", "answered"]
    table(heads, [_row(line) for line in found])


def _row(line: Line) -> list[str]:
    shares = [line.mape, line.wanted, line.median, line.covered]
    cells = ["" if share is None else f"{100 * share:.1f}%" for share in shares]
    return [
        line.name,
        line.target,
        line.split,
        f"{line.rows}",
        *cells,
        f"{line.width:.2f}",
        f"{100 * line.answered:.0f}%",
    ]
