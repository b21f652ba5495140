"""A table of measurements as columns."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a table (each of n texts), and which line of the file each row was on."""

    columns: Mapping[str, NDArray[np.str_]]
    lines: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file, also a gzipped one; a row that has another number of fields than the header is refused."""
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8", newline="") as file:
                found = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, EOFError) as error:
            raise BadInputError(f"{path} cannot be read: {error}.", "check the path, and that it is CSV.") from error
        if len(found) < 2:
            raise BadInputError(f"{path} has no rows.", "give a table with a header and at least one row.")
        head, body = found[0], [row for row in found[1:] if row]
        for number, row in enumerate(body, start=2):
            if len(row) != len(head):
                raise BadInputError(
                    f"Row {number} of {path} has {len(row)} fields, its header {len(head)}.",
                    "quote what contains commas.",
                )
        table = np.array(body, dtype=np.str_)
        return cls({name: table[:, at] for at, name in enumerate(head)}, np.arange(2, 2 + len(body)))

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The rows chosen by a mask or by positions."""
        return type(self)({name: column[chosen] for name, column in self.columns.items()}, self.lines[chosen])

    def text(self, name: str) -> NDArray[np.str_]:
        """A column of texts (n,), stripped; a column that is missing is refused."""
        if name not in self.columns:
            raise BadInputError(f"The table has no column {name}.", f"add it; there are: {', '.join(self.columns)}.")
        return np.char.strip(self.columns[name])

    def number(self, name: str, default: float = np.nan) -> NDArray[np.float64]:
        """A column of numbers (n,); an empty field, or a missing column, is the `default`."""
        if name not in self.columns:
            return np.full(len(self), default)
        texts = self.text(name)
        found = np.full(len(self), default)
        for at, text in enumerate(texts):
            if text:
                found[at] = _number(str(text), name, int(self.lines[at]))
        return found

    def true(self, name: str) -> NDArray[np.bool_]:
        """Which rows (n,) say yes, true or 1 in a column; a missing column says no."""
        if name not in self.columns:
            return np.zeros(len(self), dtype=np.bool_)
        return np.isin(np.char.lower(self.text(name)), ("true", "yes", "1", "1.0"))


def _number(text: str, name: str, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadInputError(
            f"{text!r} in column {name}, line {line}, is no number.", "correct it or leave it empty."
        ) from error
