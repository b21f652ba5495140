"""A table of measurements as columns."""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

_SEPARATORS = ",;\t"
_LONGEST = 20_000  # characters of a field: beyond it a quotation mark was not closed
_SPACES = {ord(space): None for space in (" ", "\u00a0", "\u2009", "\u202f")}  # that set thousands apart


class NoNumberError(BadInputError):
    """A field that should hold a number does not; `column` is where it is."""

    def __init__(self, problem: str, fix: str, column: str = "") -> None:
        super().__init__(problem, fix)
        self.column = column


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a table (each of n texts), and which line of the file each row was on."""

    columns: Mapping[str, NDArray[np.str_]]
    lines: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file, also a gzipped one; a row that has another number of fields than the header is refused.

        Fields may be separated by commas, semicolons or tabs. Empty rows, and columns without a name, are passed over.
        """
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
                return cls._of(file, path)
        except (OSError, UnicodeDecodeError, EOFError, csv.Error, zlib.error) as error:
            raise BadInputError(f"{path} cannot be read: {error}.", "check the path, and that it is CSV.") from error

    @classmethod
    def _of(cls, file: TextIO, path: Path) -> Self:
        first = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(_SEPARATORS, key=first.count))
        head = [name.strip() for name in next(reader, [])]
        _check_head(head, path)
        fields, lines = [], []
        for row, line in _filled(reader, len(head), path):
            fields.append(row)
            lines.append(line)
        if not fields:
            raise BadInputError(f"{path} has no rows.", "give a table with a header and at least one row.")
        # Column by column: together, every field would take as much memory as the longest of all.
        columns = {name: np.array([row[at] for row in fields], dtype=np.str_) for at, name in enumerate(head) if name}
        return cls(columns, np.array(lines, dtype=np.int64))

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
        """A column of numbers (n,); an empty field, or a missing column, is the `default`.

        Spaces between digits are passed over; what is no number raises `NoNumberError`.
        """
        if name not in self.columns:
            return np.full(len(self), default)
        texts = self.text(name)
        filled = np.char.str_len(texts) > 0
        try:
            found = np.where(filled, texts, "nan").astype(np.float64)
        except ValueError:
            found = np.array([self._number(name, at, str(text)) for at, text in enumerate(texts)], dtype=np.float64)
        return np.where(filled, found, default)

    def numeric(self, name: str) -> NDArray[np.bool_]:
        """Which rows (n,) have a number in a column, or nothing."""
        return np.array([_parsed(str(text)) is not None for text in self.text(name)], dtype=np.bool_)

    def blanked(self, name: str) -> Self:
        """The rows with what is no number in a column emptied."""
        kept = np.where(self.numeric(name), self.text(name), "")
        return type(self)({**self.columns, name: kept}, self.lines)

    def true(self, name: str) -> NDArray[np.bool_]:
        """Which rows (n,) say yes, true or 1 in a column; a missing column says no."""
        if name not in self.columns:
            return np.zeros(len(self), dtype=np.bool_)
        return np.isin(np.char.lower(self.text(name)), ("true", "yes", "1", "1.0"))

    def _number(self, name: str, at: int, text: str) -> float:
        found = _parsed(text)
        if found is None:
            problem = f"{text[:40]!r} in column {name}, line {self.lines[at]}, is no number."
            raise NoNumberError(problem, "correct it or leave it empty.", name)
        return found


def _parsed(text: str) -> float | None:
    """The number that a text is, spaces passed over; NaN for nothing, None for what is none."""
    try:
        return float(text.translate(_SPACES) or "nan")
    except ValueError:
        return None


def _check_head(head: list[str], path: Path) -> None:
    named = [name for name in head if name]
    if not named:
        raise BadInputError(f"{path} has no rows.", "give a table with a header and at least one row.")
    for name in named:
        if named.count(name) > 1:
            raise BadInputError(f"{path} has two columns named {name}.", "rename or remove one of them.")


def _filled(reader: Iterator[list[str]], width: int, path: Path) -> Iterator[tuple[list[str], int]]:
    """Each row that is not empty, and the line it begins on."""
    line = 1 + _breaks(reader)
    for row in reader:
        began, line = line, 1 + _breaks(reader)
        if not any(map(str.strip, row)):
            continue
        if len(row) != width:
            raise BadInputError(
                f"The row on line {began} of {path} has {len(row)} fields, the header {width}.",
                "quote what contains commas.",
            )
        if any(len(field) > _LONGEST for field in row):
            raise BadInputError(
                f"The row on line {began} of {path} has a field of more than {_LONGEST:,} characters.",
                "close the quotation marks.",
            )
        yield row, began


def _breaks(reader: object) -> int:
    """How many lines were read."""
    return int(getattr(reader, "line_num", 0))
