"""A column and how it is stored: never larger than it must be, and bit for bit what it was when it is read."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TEXT = "text"
_DIVISORS = (1.0, 255.0)  # whole numbers held as floats, and pixels scaled to one
_WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
_BYTE_VALUES, _MOST_VALUES = 256, 4096  # of a column that is stored as places in a list of its values
_CHUNK = 1 << 20
_TEXT_BYTE = 16  # of a cell, where sizes are planned


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column: `dtype` and `shape` of a row as it is used, and the type `stored` that it is kept in.

    Stored numbers become values by `form`: "plain" (a cast), "divided" (by `divisor`), "listed" (the place of the value
    in `values`, the bytes of all of them in base64) or "text".
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: str
    form: str = "plain"
    divisor: float = 1.0
    values: str = ""

    @property
    def cell(self) -> int:
        """The numbers in one row."""
        return math.prod(self.shape)

    @property
    def stored_byte(self) -> int:
        """The bytes of one row as it is stored, before compression."""
        return _TEXT_BYTE if self.form == TEXT else self.cell * np.dtype(self.stored).itemsize

    @property
    def floats(self) -> bool:
        """Whether floats are stored as they are."""
        return self.form != TEXT and np.dtype(self.stored).kind == "f"

    def encode(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Values (N, *shape) as they are stored, (N, *shape); raises `BadInputError` for what would not come back."""
        if tuple(rows.shape[1:]) != self.shape or _name(rows.dtype) != self.dtype:
            raise self._changed(f"{_name(rows.dtype)} of shape {tuple(rows.shape[1:])}")
        if self.form == TEXT:
            return rows.astype(object)
        if self.form == "listed":
            bits, known = _bits(rows), _bits(self._listed())
            codes = np.minimum(np.searchsorted(known, bits), len(known) - 1).astype(self.stored)
            fine = np.array_equal(known[codes], bits)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                codes = np.rint(rows * rows.dtype.type(self.divisor)) if self.form == "divided" else rows
                codes = np.ascontiguousarray(codes.astype(self.stored))
            fine = np.array_equal(_bits(self.decode(codes)), _bits(rows))
        if not fine:
            raise self._changed("values it cannot hold")
        return codes

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """What is stored (N, *shape) as values of `dtype`; the array itself where nothing has to be done."""
        if self.form == TEXT:
            return np.asarray(codes, dtype=str)
        if self.form == "divided":
            kind = np.dtype(self.dtype)
            return codes.astype(kind) if self.divisor == 1 else _divided(codes, kind, self.divisor)
        if self.form == "listed":
            made: NDArray[Any] = self._listed()[codes]
            return made
        return codes.astype(self.dtype, copy=False)

    def facts(self) -> dict[str, Any]:
        """The column as JSON."""
        return asdict(self)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Self:
        """The column that `facts` describe; raises `CorruptError` where they describe none."""
        try:
            made = cls(**{**facts, "shape": tuple(int(size) for size in facts["shape"])})
            known = (made.form == TEXT) or (np.dtype(made.dtype).kind in "fiub" and np.dtype(made.stored).kind in "fiu")
        except (TypeError, KeyError, ValueError) as error:
            raise CorruptError("A column of the packed data is not described.", "pack the data again.") from error
        if not known or made.form not in {"plain", "divided", "listed", TEXT} or not isinstance(made.name, str):
            raise CorruptError(f"Column {made.name!r} of the packed data has no known form.", "pack the data again.")
        return made

    def _listed(self) -> NDArray[Any]:
        return np.frombuffer(base64.b64decode(self.values), self.dtype)

    def _changed(self, found: str) -> BadInputError:
        return BadInputError(
            f"Column {self.name!r} begins as {self.dtype} of shape {self.shape}, then holds {found}.",
            "give the column one type and one shape throughout.",
        )


def column_of(name: str, rows: NDArray[Any]) -> Column:
    """The smallest form in which `rows` (N, ...) can be stored so that every bit comes back. Time grows with N."""
    dtype, shape = _name(rows.dtype), tuple(rows.shape[1:])
    if rows.dtype.kind in "USO":
        if shape or (rows.dtype.kind == "O" and not all(isinstance(each, str) for each in rows)):
            raise BadInputError(f"Column {name!r} holds objects.", "give numbers, or text with one entry per row.")
        return Column(name, "str", (), TEXT, TEXT)
    if rows.dtype.kind not in "fiub" or rows.dtype.itemsize > 8 or 0 in shape:
        raise BadInputError(f"Column {name!r} holds {rows.dtype} of shape {shape}.", "give real numbers or text.")
    if rows.dtype.kind == "b":
        return Column(name, dtype, shape, "uint8")
    if rows.dtype.kind in "iu":
        return Column(name, dtype, shape, _narrowest(rows))
    return _of_floats(name, rows)


def _of_floats(name: str, rows: NDArray[Any]) -> Column:
    dtype, shape = _name(rows.dtype), tuple(rows.shape[1:])
    for divisor in _DIVISORS:
        stored = _divides(rows, divisor)
        if stored and np.dtype(stored).itemsize < rows.dtype.itemsize:
            return Column(name, dtype, shape, stored, "divided", divisor)
    values = _values(rows)
    if values is None or rows.dtype.itemsize < 4:
        return Column(name, dtype, shape, dtype)
    stored = "uint8" if len(values) <= _BYTE_VALUES else "uint16"
    return Column(name, dtype, shape, stored, "listed", values=base64.b64encode(values.tobytes()).decode())


def _divides(rows: NDArray[Any], divisor: float) -> str:
    """The type of the whole numbers that `rows` are when multiplied by `divisor`; empty if they are not."""
    low, high = 0.0, 0.0
    for part in _chunks(rows):
        with np.errstate(invalid="ignore", over="ignore"):
            whole = np.rint(part * part.dtype.type(divisor)) + part.dtype.type(0)  # whole numbers know no negative zero
            if not np.isfinite(whole).all() or np.abs(whole).max(initial=0) > np.iinfo(np.uint16).max:
                return ""
            again = _divided(whole, part.dtype, divisor)
        if not np.array_equal(_bits(again), _bits(part)):
            return ""
        low, high = min(low, float(whole.min(initial=0))), max(high, float(whole.max(initial=0)))
    return _holding(low, high)


def _divided(codes: NDArray[Any], kind: np.dtype[Any], divisor: float) -> NDArray[Any]:
    """In one pass, rounded once: the same bits as dividing after a cast."""
    made: NDArray[Any] = np.divide(codes, kind.type(divisor), dtype=kind, casting="unsafe")
    return made


def _values(rows: NDArray[Any]) -> NDArray[Any] | None:
    """The different values, by their bits, if they are few enough to be worth a list."""
    most = min(_MOST_VALUES, rows.size // 8)
    known: NDArray[Any] = np.empty(0, _bits(rows[:0]).dtype)
    for part in _chunks(rows):
        known = np.union1d(known, _bits(part))
        if len(known) > most:
            return None
    return known.view(rows.dtype)


def _narrowest(rows: NDArray[Any]) -> str:
    low, high = (int(rows.min()), int(rows.max())) if rows.size else (0, 0)
    return _holding(low, high) or _name(rows.dtype)


def _holding(low: float, high: float) -> str:
    for name in _WHOLE:
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return name
    return ""


def _chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Rows in parts of growing size: most columns that do not fit are found out in the first."""
    row, at, size = max(1, math.prod(rows.shape[1:])), 0, _CHUNK // 64
    while at < len(rows):
        step = max(1, size // row)
        yield np.ascontiguousarray(rows[at : at + step])
        at, size = at + step, min(_CHUNK, 2 * size)


def _bits(rows: NDArray[Any]) -> NDArray[Any]:
    if rows.dtype.kind != "f":
        return rows
    bits: NDArray[Any] = np.ascontiguousarray(rows).view(f"u{rows.dtype.itemsize}")
    return bits


def _name(kind: np.dtype[Any]) -> str:
    return "str" if kind.kind in "USO" else kind.newbyteorder("<").name
