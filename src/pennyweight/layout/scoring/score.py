"""How far predictions are off on a table of measurements: row by row, and in one figure."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.scoring.asking import ask, measured
from pennyweight.layout.tables.finding import completed, incomplete, kind_of, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows
    from pennyweight.layout.tables.table import Forecast, Learnt, Table

FIELDS = ("line", "target", "unit", "predicted", "low", "high", "measured", "outside", "note")


@dataclass(frozen=True, slots=True)
class Target:
    """One predicted quantity beside what was measured of it (n,), NaN where it was not."""

    name: str
    unit: str
    measured: NDArray[np.float64]
    forecast: Forecast

    @property
    def told(self) -> NDArray[np.bool_]:
        """The rows (n,) that were measured and got a prediction."""
        both: NDArray[np.bool_] = np.isfinite(self.measured) & np.isfinite(self.forecast.value)
        return both

    @property
    def errors(self) -> NDArray[np.float64]:
        """Relative errors (n,) of the rows told: predicted / measured - 1."""
        errors: NDArray[np.float64] = self.forecast.value[self.told] / self.measured[self.told] - 1
        return errors

    @property
    def covered(self) -> float:
        """The share of the rows told that lie in their 90% interval."""
        low, high, found = (each[self.told] for each in (self.forecast.low, self.forecast.high, self.measured))
        return float(np.mean((low <= found) & (found <= high)))

    def summary(self) -> dict[str, float]:
        """Rows predicted and measured, then shares: of the measured those answered, mean and median error, coverage."""
        predicted, rows = (int(np.isfinite(each).sum()) for each in (self.forecast.value, self.measured))
        counts: dict[str, float] = {"predicted": predicted, "rows": rows}
        off = np.abs(self.errors)
        if not rows:
            return counts
        if not len(off):
            return {**counts, "answered": 0.0}
        shares = {"answered": len(off) / rows, "mape": float(off.mean()), "median": float(np.median(off))}
        return {**counts, **shares, "covered": self.covered}


@dataclass(frozen=True, slots=True)
class Scored:
    """A table of one `kind` with its targets; of each row (n,) its line in the file, and what is to be noted of it."""

    kind: str
    lines: NDArray[np.int64]
    targets: tuple[Target, ...]
    notes: NDArray[np.str_]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row and target that was predicted or measured, and each row that is noted, in the order of the file."""
        notes = self.notes.tolist()
        columns = [_columns_of(target) for target in self.targets]
        for at, line in enumerate(self.lines.tolist()):
            some = False
            for target, (values, lows, highs, found, outside) in zip(self.targets, columns, strict=True):
                if values[at] is not None or found[at] is not None:
                    some = True
                    told = target.name, target.unit, values[at], lows[at], highs[at], found[at], outside[at], notes[at]
                    yield dict(zip(FIELDS, (line, *told), strict=True))
            if notes[at] and not some:
                yield dict(zip(FIELDS, (line, "", "", None, None, None, None, "", notes[at]), strict=True))

    def text(self) -> str:
        """`rows` as CSV; figures that are not there are empty."""
        body = io.StringIO()
        writer = csv.DictWriter(body, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return body.getvalue()


def score(rows: Rows, learnt: Learnt | None = None, kind: Table | None = None) -> Scored:
    """Predict every row of a table with `learnt`, by default as shipped; without a `kind`, the columns tell it.

    Rows that cannot be predicted are NaN and noted; `BadInputError` where none can be.
    """
    known = kind or kind_of(rows)
    whole = completed(rows, known)
    try:
        answers = ask(learnt or shipped(known.name), whole)
    except BadInputError as error:
        raise (incomplete(rows, known) if whole is not rows else error) from error
    found, notes = measured(known, whole)
    targets = tuple(Target(name, known.targets[name], found[name], each) for name, each in answers.forecasts.items())
    return Scored(known.name, rows.lines, targets, np.where(np.char.str_len(answers.notes) > 0, answers.notes, notes))


def _columns_of(target: Target) -> tuple[list[Any], ...]:
    """Values, ends and measurements (n,) with None for NaN, and what is outside (n,)."""
    forecast = target.forecast
    numbers = (forecast.value, forecast.low, forecast.high, target.measured)
    found = [[value if math.isfinite(value) else None for value in each.tolist()] for each in numbers]
    return *found, forecast.outside.tolist()
