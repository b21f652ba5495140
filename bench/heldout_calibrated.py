"""Errors on groups never seen, before and after a few of their own rows corrected the prediction.

Of every group (a model, a system …) that was left out, some rows are drawn at random; a `Correction` is learned from
the first 1, 5, 10 and 20 of them, and the rows that were not drawn are predicted. Where groups are small, fewer are
drawn: as many as at least three groups have, and five more. Serving has a way of its own: see `heldout_serving`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.fit import rows_of
from bench.heldout import HeldOut, Line, held_out, line_of, report
from pennyweight.layout.correction import apply, known_rows, learn
from pennyweight.layout.tables.finding import own_way, tables
from pennyweight.layout.tables.table import Forecast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.layout.tables.table import Table

COUNTS = (0, 1, 5, 10, 20)
_DRAWS = 3
_REST, _GROUPS = 5, 3
_FOLDS = 3  # few: learning takes longest


def results(data: Path) -> list[Line]:
    """Lines for every kind of table that has groups large enough."""
    found: list[Line] = []
    for kind in tables().values():
        rows = rows_of(kind, data) if own_way(kind) is None else None
        if rows is not None:
            outs = held_out(kind, rows, kind.splits[0], _FOLDS)
            groups = kind.groups(rows, kind.splits[0])
            found += [line for target, out in outs.items() for line in lines_of(kind, target, out, groups)]
    return found


def lines_of(kind: Table, target: str, out: HeldOut, groups: NDArray[np.str_]) -> Iterator[Line]:
    """The lines of one target, from what was measured and predicted of groups (n,) held out."""
    forecast = Forecast(out.value, out.low, out.high, np.full(len(groups), ""))
    known = known_rows(out.measured, forecast)
    _, sizes = np.unique(groups[known], return_counts=True)
    counts = [count for count in COUNTS if (sizes >= count + _REST).sum() >= _GROUPS]
    if len(counts) > 1:
        for count in counts:
            told = _told(out, forecast, np.where(known, groups, ""), (count, counts[-1]))
            line = line_of((kind.name, target, f"{kind.splits[0]}, {count} own rows"), told, None)
            yield replace(line, seconds_row=out.seconds_row)


def _told(out: HeldOut, forecast: Forecast, groups: NDArray[np.str_], counts: tuple[int, int]) -> HeldOut:
    """The rows that were not among the most drawn of their group, corrected by the first of those that were."""
    count, most = counts
    random, parts = np.random.default_rng(0), []
    for name in np.unique(groups[groups != ""]):
        at = np.flatnonzero(groups == name)
        for _ in range(_DRAWS if len(at) >= most + _REST else 0):
            drawn = random.permutation(at)
            rest = _part(forecast, drawn[most:])
            if count:
                first = drawn[:count]
                rest = apply(rest, learn(out.measured[first], _part(forecast, first))[0])
            parts.append((out.measured[drawn[most:]], rest.value, rest.low, rest.high))
    measured, value, low, high = (np.concatenate(each) for each in zip(*parts, strict=True))
    return HeldOut(measured, value, low, high, out.seconds_row)


def _part(forecast: Forecast, at: NDArray[np.int64]) -> Forecast:
    return Forecast(*(getattr(forecast, name)[at] for name in ("value", "low", "high", "outside")))


if __name__ == "__main__":
    report(results)
