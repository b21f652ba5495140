"""How far predictions are off on a table of measurements: row by row, and in one figure."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.tables.finding import kind_of, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.layout.tables.rows import Rows
    from pennyweight.layout.tables.table import Forecast, Learnt


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
        """Rows measured, the share of them answered, mean and median absolute error and coverage, as shares."""
        measured = int(np.isfinite(self.measured).sum())
        off = np.abs(self.errors)
        if not len(off):
            return {"rows": measured, "answered": 0.0}
        shares = {"answered": len(off) / measured, "mape": float(off.mean()), "median": float(np.median(off))}
        return {"rows": measured, **shares, "covered": self.covered}


@dataclass(frozen=True, slots=True)
class Scored:
    """A table of one `kind` with its targets; `lines` (n,) say where each row is in the file."""

    kind: str
    lines: NDArray[np.int64]
    targets: tuple[Target, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row and target that got a prediction, in the order of the file."""
        for at, line in enumerate(self.lines):
            for target in self.targets:
                forecast = target.forecast
                if np.isfinite(forecast.value[at]):
                    yield {
                        "line": int(line),
                        "target": target.name,
                        "unit": target.unit,
                        "predicted": float(forecast.value[at]),
                        "low": float(forecast.low[at]),
                        "high": float(forecast.high[at]),
                        "measured": float(target.measured[at]) if np.isfinite(target.measured[at]) else None,
                        "outside": str(forecast.outside[at]),
                    }

    def write(self, path: Path) -> None:
        """Write `rows` as CSV."""
        body = list(self.rows())
        if not body:
            raise BadInputError("No row of the table could be predicted.", "fill in the columns that its kind needs.")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(body[0]))
            writer.writeheader()
            writer.writerows(body)


def score(rows: Rows, learnt: Learnt | None = None) -> Scored:
    """Predict every row of a table, whose kind its columns tell; `learnt` (default: as shipped) is what predicts."""
    kind = kind_of(rows)
    forecasts: Mapping[str, Forecast] = (learnt or shipped(kind.name)).predict(rows)
    measured = kind.measured(rows)
    targets = tuple(Target(name, kind.targets[name], measured[name], each) for name, each in forecasts.items())
    return Scored(kind.name, rows.lines, targets)
