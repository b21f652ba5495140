"""A Gaussian process over rows of a table: what they share by name, by nearness and by trend.

The covariance of two rows is a sum of parts; each part is a variance times "the same name" in some columns, times
nearness in others, times a trend in one: a hierarchical regression whose every level is drawn to the level above as far
as data do not say otherwise (Rasmussen & Williams 2006, sections 2.2, 4.2.4 and 5.4.2; a constant, a main effect and an
interaction are each one part).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.leaving import codes_of
from pennyweight.cost.learn.written import column_of, plain, whole, whole_of
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]
    Said = tuple[NDArray[np.float64], NDArray[np.float64]]

_ROWS = 4096  # asked about at once


@dataclass(frozen=True, slots=True)
class Part:
    """One reason for two rows to be alike, of standard deviation `sd`.

    Rows must be of the `same` names; they are the more alike the `near`er their numbers are (by column, how far
    likeness reaches, in the column's unit: squared exponential); with a `line`, what they share is the slope over
    that column, around `origin`.
    """

    sd: float
    same: tuple[str, ...] = ()
    near: Mapping[str, float] = field(default_factory=dict)
    line: str = ""
    origin: float = 0.0

    def covariance(self, one: Columns, other: Columns) -> NDArray[np.float64]:
        """The covariances (n, m) of rows (n) with others (m)."""
        found = np.full((_length(one), _length(other)), self.sd**2)
        if self.near:
            found *= np.exp(-0.5 * _squared(*(_scaled(each, self.near) for each in (one, other))))
        for name in self.same:
            found *= one[name][:, None] == other[name][None, :]
        if self.line:
            found *= np.multiply.outer(one[self.line] - self.origin, other[self.line] - self.origin)
        return found

    def variance(self, rows: Columns) -> NDArray[np.float64]:
        """The variance (n,) of each row."""
        found = np.full(_length(rows), self.sd**2)
        return found * (rows[self.line] - self.origin) ** 2 if self.line else found


@dataclass(frozen=True)
class Process:
    """Values (n,) measured at rows given as columns, of names or of numbers, under the sum of `parts`.

    `noise` is the standard deviation of what no column explains. Values are in no unit: take logarithms of ratios.
    `solved`, where it is known, is `(K + noise²)⁻¹ values` (n,): all that predicting needs beside the columns.
    """

    parts: tuple[Part, ...]
    noise: float
    columns: Columns
    values: NDArray[np.float64]
    solved: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not len(self.values) or not np.isfinite(self.values).all():
            raise BadInputError(
                "Nothing can be learned from no rows, or from rows without a value.", "give measured rows only."
            )

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.inv(self._own), dtype=np.float64)

    @cached_property
    def _own(self) -> NDArray[np.float64]:
        return self.covariance(self.columns) + self.noise**2 * np.eye(len(self.values))

    @cached_property
    def _factor(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.cholesky(self._own), dtype=np.float64)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """The weight (n,) of each measured row in what is said of others: `(K + noise²)⁻¹ values`."""
        if self.solved is not None:
            return self.solved
        from scipy.linalg import cho_solve

        return np.asarray(cho_solve((self._factor, True), self.values), dtype=np.float64)

    @cached_property
    def _names(self) -> dict[str, NDArray[Any]]:
        """The names measured in each column that is compared by name, sorted."""
        return {name: np.unique(self.columns[name]) for part in self.parts for name in part.same}

    def covariance(self, rows: Columns) -> NDArray[np.float64]:
        """The covariances (m, n) of rows (m) with the measured ones (n)."""
        return self._near(self._coded(rows), slice(None))

    def at(self, rows: Columns) -> Said:
        """Mean (m,) and standard deviation (m,), noise included, of the value at rows (m)."""
        from scipy.linalg import solve_triangular

        asked, places = _distinct(self._coded(rows))
        mean, explained = np.empty(_length(asked)), np.empty(_length(asked))
        for part in _parted(_length(asked)):
            near = self._near(asked, part)
            mean[part] = near @ self.weights
            pulled = solve_triangular(self._factor, near.T, lower=True, overwrite_b=True)
            explained[part] = np.einsum("ij,ij->j", pulled, pulled)
        sd = np.sqrt(np.maximum(self._variance(asked) - explained, 0.0) + self.noise**2)
        return mean[places], sd[places]

    def left_out(self, groups: NDArray[np.str_]) -> Said:
        """Mean (n,) and standard deviation (n,) at each measured row, were its whole group (n,) not measured.

        Exact, by blocks of the inverse (Rasmussen & Williams 2006, equation 5.12, for groups of rows).
        """
        codes = codes_of(groups)
        mean, sd = np.empty(len(codes)), np.empty(len(codes))
        for code in range(codes.max() + 1):
            at = np.flatnonzero(codes == code)
            block = np.linalg.inv(self._inverse[np.ix_(at, at)])
            mean[at] = self.values[at] - block @ self.weights[at]
            sd[at] = np.sqrt(np.maximum(np.diag(block), 0.0))
        return mean, sd

    def nearest(self, rows: Columns) -> NDArray[np.int64]:
        """Which measured row (m,) is most alike to each of the rows (m): of the highest correlation a priori."""
        asked, places = _distinct(self._coded(rows))
        own, found = np.sqrt(self._variance(self.columns)), np.empty(_length(asked), dtype=np.int64)
        for part in _parted(_length(asked)):
            found[part] = (self._near(asked, part) / own).argmax(axis=1)
        return found[places]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy: where rows lie, and the weight of each; not what was measured there.

        Weights are those of the coordinates as they are written; the parts are the program's own.
        """
        written = {name: plain(column) for name, column in self.columns.items()}
        columns = {name: column_of(each) for name, each in written.items()}
        again = type(self)(self.parts, self.noise, columns, self.values)
        return {"columns": written, "weights": whole(again.weights)}

    @classmethod
    def restore(cls, parts: tuple[Part, ...], noise: float, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, under the same parts; also of before, when values were written."""
        try:
            columns = {str(name): column_of(column) for name, column in body["columns"].items()}
            if "weights" not in body:
                return cls(parts, noise, columns, np.array(body["values"], dtype=np.float64))
            weights = whole_of(body["weights"])
            blank = cls(parts, noise, columns, weights)
            return cls(parts, noise, columns, blank._own @ weights, weights)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no measured rows: {error!r}.", "fit again.") from error

    def _near(self, asked: Columns, part: slice) -> NDArray[np.float64]:
        """The covariances of a part of coded rows with the measured ones (n)."""
        chosen = {name: column[part] for name, column in asked.items()}
        found = np.zeros((_length(chosen), len(self.values)))
        for each in self.parts:
            found += each.covariance(chosen, self._measured)
        return found

    @cached_property
    def _measured(self) -> Columns:
        return self._coded(self.columns)

    def _coded(self, rows: Columns) -> Columns:
        """The columns that parts need, with names as numbers, which are compared faster; new names are one beyond."""
        numbers = {name for part in self.parts for name in (*part.near, part.line) if name}
        names = {name: _codes(rows[name], known) for name, known in self._names.items() if name not in numbers}
        found = {name: np.asarray(rows[name], dtype=np.float64) for name in sorted(numbers)} | names
        return found or {"": np.zeros(_length(rows))}

    def _variance(self, rows: Columns) -> NDArray[np.float64]:
        found = np.zeros(_length(rows))
        for part in self.parts:
            found += part.variance(rows)
        return found


def _scaled(rows: Columns, near: Mapping[str, float]) -> NDArray[np.float64]:
    """Coordinates (n, d) in units of how far likeness reaches."""
    return np.stack([np.asarray(rows[name], dtype=np.float64) / reach for name, reach in near.items()], axis=1)


def _squared(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances (n, m) of rows (n, d) and others (m, d), as one matrix product."""
    middle = other.mean(axis=0)  # near zero, little is lost to cancellation
    one, other = one - middle, other - middle
    found: NDArray[np.float64] = np.vecdot(one, one)[:, None] + np.vecdot(other, other)[None, :] - 2.0 * (one @ other.T)
    return np.maximum(found, 0.0)


def _codes(column: NDArray[Any], known: NDArray[Any]) -> NDArray[np.int64]:
    at = np.searchsorted(known, column)
    return np.where(known[np.minimum(at, len(known) - 1)] == column, at, len(known))


def _distinct(rows: Columns) -> tuple[Columns, NDArray[np.int64]]:
    """Rows that differ, and which of them each row (m,) is; of few rows, all as they are."""
    count = _length(rows)
    if count <= _ROWS:
        return rows, np.arange(count)
    place = np.zeros(count, dtype=np.int64)
    for column in rows.values():
        values, codes = np.unique(column, return_inverse=True)
        place = np.unique(place * len(values) + codes, return_inverse=True)[1]
    first = np.unique(place, return_index=True)[1]
    return {name: column[first] for name, column in rows.items()}, place


def _parted(count: int) -> list[slice]:
    """So many rows in parts whose covariances fit into memory."""
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]


def _length(rows: Columns) -> int:
    return len(next(iter(rows.values())))
