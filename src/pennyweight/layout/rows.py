"""A table of measurements as columns."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

_SEPARATORS = ",;\t|"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # with which files in UTF-16 begin, as spreadsheets write them
YES = ("true", "yes", "1", "1.0")
_LONGEST = 20_000  # characters of a field: beyond it a quotation mark was not closed
_SPACES = {ord(space): None for space in (" ", "\u00a0", "\u2009", "\u202f")}  # that set thousands apart


class NoNumberError(BadInputError):
    """A field that should hold a number does not; `column` is where it is."""

    def __init__(self, problem: str, fix: str, column: str = "") -> None:
        super().__init__(problem, fix)
        self.column = column


@final
class Named(Mapping[str, "NDArray[np.str_]"]):
    """Columns by name; `Global Batch` and `GLOBAL-BATCH` are found as `global_batch`, if nothing else is named so."""

    def __init__(self, columns: Mapping[str, NDArray[np.str_]]) -> None:
        self._columns = dict(columns)
        self._spelt = {plain(name): name for name in reversed(self._columns)}

    def __getitem__(self, name: str) -> NDArray[np.str_]:
        found = self._columns.get(name)
        return self._columns[self._spelt[plain(name)]] if found is None else found

    def __contains__(self, name: object) -> bool:
        return name in self._columns or (isinstance(name, str) and plain(name) in self._spelt)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns of a table (each of n texts), and which line of the file each row was on."""

    columns: Mapping[str, NDArray[np.str_]]
    lines: NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", Named(self.columns))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file, also a gzipped one; a row that has another number of fields than the header is refused.

        Fields may be separated by commas, semicolons, tabs or upright strokes. Empty rows, columns without a name, and
        remarks (`# …`) above the header are passed over.
        """
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rb") as file:
                wide = file.read(2) in _WIDE
            with opened(path, "rt", encoding="utf-16" if wide else "utf-8-sig", newline="") as file:
                return cls._of(file, path)
        except UnicodeDecodeError as error:
            raise BadInputError(
                f"{path} cannot be read: it is not in UTF-8, {error}.", "save it as CSV in UTF-8."
            ) from error
        except (OSError, EOFError, csv.Error, zlib.error) as error:
            raise BadInputError(f"{path} cannot be read: {error}.", "check the path, and that it is CSV.") from error

    @classmethod
    def _of(cls, file: TextIO, path: Path) -> Self:
        above, first = 0, file.readline()
        while first and not _is_header(first):
            above, first = above + 1, file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(_SEPARATORS, key=first.count))
        for _ in range(above):
            next(reader)
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
        return np.isin(np.char.lower(self.text(name)), YES)

    def _number(self, name: str, at: int, text: str) -> float:
        found = _parsed(text)
        if found is None:
            problem = f"{text[:40]!r} in column {name}, line {self.lines[at]}, is no number."
            fix = "write it like 1234.5" if re.search(r"\d,\d", text) else "correct it"
            raise NoNumberError(problem, f"{fix} or leave it empty.", name)
        return found


def _parsed(text: str) -> float | None:
    """The number that a text is, spaces passed over; NaN for nothing, None for what is none."""
    try:
        return float(text.translate(_SPACES) or "nan")
    except ValueError:
        return None


def plain(name: str) -> str:
    """A name of a column in small letters, with one underscore for whatever separates its words."""
    return re.sub(r"[\s_.-]+", "_", name.strip()).lower()


def _is_header(line: str) -> bool:
    """Whether a line is neither empty nor a remark."""
    text = line.strip()
    return bool(text.strip(_SEPARATORS + '"')) and not (text.startswith("#") and not any(map(text.count, _SEPARATORS)))


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
        if not "".join(row).strip():
            continue
        if len(row) != width:
            raise BadInputError(
                f"The row on line {began} of {path} has {len(row)} fields, the header {width}.",
                "quote what contains commas." if width > 1 else "begin the file with the names of its columns.",
            )
        if max(map(len, row)) > _LONGEST:
            raise BadInputError(
                f"The row on line {began} of {path} has a field of more than {_LONGEST:,} characters.",
                "close the quotation marks.",
            )
        yield row, began


def _breaks(reader: object) -> int:
    """How many lines were read."""
    return int(getattr(reader, "line_num", 0))
