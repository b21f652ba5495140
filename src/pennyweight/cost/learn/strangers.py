"""How wide an interval must be for a name that was never measured: by how far off names left out were, and like whom.

A learner that leaves out every system in turn knows how far off it is on the next system. On an accelerator that nobody
measured it is off in another way: a maker with ten of them is foreseen better than one with two. So every name is left
out in turn, and the logarithm of how many times farther off its rows then were than the learner thought (root mean
square) is itself learned by likeness of names (`process.py`). What a name is told by the others scales its scores, and
the interval is conformal on these, names left out of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.leaving import codes_of
from pennyweight.cost.learn.process import Process
from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns, Part

    Floats = NDArray[np.float64]
    Interval = tuple[Floats, Floats]

_LEAST = 3  # names, of which each is told by the others
_NOISE = 0.3  # of the logarithm of a name's root mean square score


@dataclass(frozen=True, slots=True)
class Strangeness:
    """The column whose names may be new, and why two names are off alike: `parts` over columns of the same rows."""

    column: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Strangers:
    """How many times farther off than it thought a learner is on names of a column that it never met.

    The points of `process` are the names that it met.
    """

    kind: Strangeness
    process: Process
    interval: Conformal

    @classmethod
    def of(cls, kind: Strangeness, columns: Columns, errors: Floats, scale: Floats) -> Self | None:
        """From errors (n,) of logarithms where the row's own name was left out, and how unsure (n,) the learner was.

        None where there are too few names to leave any out.
        """
        names, codes = columns[kind.column], codes_of(columns[kind.column])
        if codes.max() + 1 < _LEAST:
            return None
        scores, counts = np.abs(errors) / scale, np.bincount(codes)
        farther = 0.5 * np.log(np.bincount(codes, scores**2) / counts)
        process = Process(kind.parts, _NOISE, _of_names(kind, columns, codes), farther)
        told, _ = process.left_out(np.arange(len(counts)).astype(np.str_))
        interval = Conformal.of(errors, names, scale * np.exp(told)[codes])
        return cls(kind, process, interval)

    def new(self, columns: Columns) -> NDArray[np.bool_]:
        """Which rows (n,) have a name that was never met."""
        return ~np.isin(columns[self.kind.column], self.process.columns[self.kind.column])

    def ends(self, value: Floats, scale: Floats, columns: Columns) -> Interval:
        """The interval (n,) around predictions (n,) of rows with new names, the learner being so unsure (n,)."""
        return self.interval.interval(value, scale * np.exp(self.process.at(columns)[0]))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy; the column and the parts are the program's own."""
        return {"process": self.process.to_dict(), "interval": self.interval.to_dict()}

    @classmethod
    def restore(cls, kind: Strangeness, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            process = Process.restore(kind.parts, _NOISE, body["process"])
            return cls(kind, process, Conformal.from_dict(body["interval"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This says nothing about new names: {error!r}.", "fit it again.") from error


def _of_names(kind: Strangeness, columns: Columns, codes: NDArray[np.int64]) -> Columns:
    """Each name (k,) and the columns that parts need: its first row's texts, the means of its rows' numbers."""
    _, first = np.unique(codes, return_index=True)
    counts = np.bincount(codes)
    texts = {kind.column, *(name for part in kind.parts for name in part.same)}
    numbers = {name for part in kind.parts for name in (*part.near, part.line) if name}
    told = {name: columns[name][first] for name in sorted(texts)}
    return told | {name: np.bincount(codes, columns[name]) / counts for name in sorted(numbers)}
