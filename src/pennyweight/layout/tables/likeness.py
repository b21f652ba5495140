"""What a table of results taught by likeness: a Gaussian process, its honest interval, and whom a row is like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.process import Process
from pennyweight.cost.learn.strangers import Strangers
from pennyweight.errors import CorruptError
from pennyweight.layout.tables.table import Forecast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns, Part, Said
    from pennyweight.cost.learn.strangers import Strangeness

    Ends = tuple[NDArray[np.float64], NDArray[np.float64]]

_USUAL = 0.95  # of the measured rows are not called unlike the others


@dataclass(frozen=True, slots=True)
class Settings:
    """How rows of one table are alike, chosen by the error on groups left out; `noise` and `spread` are of logarithms.

    Rows equal in all columns are one point; `noise` is what differs between points, `spread` between such rows.
    A new value in one of the `named` columns is said to be new; a row is held out with all of its `group`. Rows whose
    name in the column of `strange` is new have an interval of their own.
    """

    parts: tuple[Part, ...]
    noise: float
    spread: float
    named: tuple[str, ...]
    group: str
    strange: Strangeness | None = None


@dataclass(frozen=True, slots=True)
class Likeness:
    """A process over points, what to call each of them, and the interval that held on groups left out.

    Where the standard deviation is above `far` a row is unlike the measured ones; `strangers` is the interval of those
    with a name never measured.
    """

    settings: Settings
    process: Process
    interval: Conformal
    far: float
    labels: tuple[str, ...]
    strangers: Strangers | None = None

    @classmethod
    def of(cls, settings: Settings, columns: Columns, values: NDArray[np.float64], labels: NDArray[np.str_]) -> Self:
        """Learn from rows (n): their columns, the logarithms measured and what to call each."""
        first, point = same_rows(columns)
        means = np.bincount(point, values) / np.bincount(point)
        process = Process(settings.parts, settings.noise, {name: each[first] for name, each in columns.items()}, means)
        mean, sd = process.left_out(process.columns[settings.group])
        scale = np.hypot(sd, settings.spread)
        interval = Conformal.of(values - mean[point], columns[settings.group], scale[point])
        found = cls(settings, process, interval, float(np.quantile(sd, _USUAL)), tuple(map(str, labels[first])))
        return found._with_strangers(columns, values)

    def _with_strangers(self, columns: Columns, values: NDArray[np.float64]) -> Self:
        """The same, with an interval for new names from leaving out each that rows (n) have."""
        strange = self.settings.strange
        if strange is None:
            return self
        return replace(self, strangers=Strangers.of(strange, columns, *self._left_out(strange.column, columns, values)))

    def ends(self, value: NDArray[np.float64], sd: NDArray[np.float64], columns: Columns) -> Ends:
        """The interval (m,) around predictions of rows (m) whose standard deviation is as told by `at`."""
        low, high = self.interval.interval(value, sd)
        if self.strangers is None:
            return low, high
        new, (less, more) = self.strangers.new(columns), self.strangers.ends(value, sd, columns)
        return np.where(new, less, low), np.where(new, more, high)

    def errors(self, columns: Columns, values: NDArray[np.float64]) -> Said:
        """How far off (n,) the rows it was learned from are where their group is left out, and what was expected."""
        return self._left_out(self.settings.group, columns, values)

    def _left_out(self, column: str, columns: Columns, values: NDArray[np.float64]) -> Said:
        _, point = same_rows(columns)
        mean, sd = self.process.left_out(self.process.columns[column])
        return values - mean[point], np.hypot(sd, self.settings.spread)[point]

    def at(self, columns: Columns) -> Said:
        """Mean and standard deviation (m,) of single rows (m)."""
        mean, sd = self.process.at(columns)
        return mean, np.hypot(sd, self.settings.spread)

    def outside(self, columns: Columns) -> NDArray[np.str_]:
        """What to say (m,) of rows (m): nothing where similar ones were measured, else what is new and the nearest."""
        nearest = self.process.nearest(columns)
        sd = self.process.at(columns)[1]
        said = []
        for at, close in enumerate(nearest):
            new = [
                f"{name} {columns[name][at]}"
                for name in self.settings.named
                if columns[name][at] not in self.process.columns[name]
            ]
            why = f"nothing measured with {' and '.join(new)}; " if new else ""
            said.append(f"{why}nearest measured row: {self.labels[close]}" if new or sd[at] > self.far else "")
        return np.array(said, dtype=np.str_)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy; the settings are the program's own."""
        kept = {"process": self.process.to_dict(), "interval": self.interval.to_dict()}
        strangers = {} if self.strangers is None else {"strangers": self.strangers.to_dict()}
        return {**kept, "far": self.far, "labels": list(self.labels), **strangers}

    @classmethod
    def restore(cls, settings: Settings, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, under the same settings."""
        try:
            process = Process.restore(settings.parts, settings.noise, body["process"])
            interval, labels = Conformal.from_dict(body["interval"]), tuple(map(str, body["labels"]))
            told, strange = body.get("strangers"), settings.strange
            strangers = None if told is None or strange is None else Strangers.restore(strange, told)
            return cls(settings, process, interval, float(body["far"]), labels, strangers)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is not what a table taught: {error!r}.", "fit it again.") from error


def same_rows(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each set of equal rows (p,), and which of these sets each row (n,) belongs to."""
    codes = np.array([np.unique(each, return_inverse=True)[1] for each in columns.values()])
    _, first, point = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    return first.astype(np.int64), point.reshape(-1).astype(np.int64)


def nothing(problems: NDArray[np.str_]) -> Forecast:
    """A forecast (n,) of rows that cannot be predicted, and why."""
    value, low, high = (np.full(len(problems), np.nan) for _ in range(3))
    return Forecast(value, low, high, problems)


def spread_over(forecast: Forecast, usable: NDArray[np.bool_], problems: NDArray[np.str_]) -> Forecast:
    """The forecast of the usable rows (n,), and what is wrong with the others."""
    whole = nothing(np.array(problems, dtype=object))
    for name in ("value", "low", "high", "outside"):
        getattr(whole, name)[usable] = getattr(forecast, name)
    return Forecast(whole.value, whole.low, whole.high, whole.outside.astype(np.str_))
