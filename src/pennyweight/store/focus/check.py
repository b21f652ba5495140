"""Checks a FOCUS 1.2 data set row by row, and names the row, the column and the rule that is broken.

What is checked is what the specification says with MUST and a machine can see in the rows themselves; see `columns`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, final

from pennyweight.store.focus import rules
from pennyweight.store.focus.columns import COLUMNS, MANDATORY, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pennyweight.store.focus.columns import Column

    Row = Mapping[str, str | None]

_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)(E-?\d+)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NAME = re.compile(r"[A-Z][A-Za-z0-9]*", re.ASCII)
# what stands for nothing; in other cases they could be somebody's name
_PLACEHOLDERS = frozenset({"", "N/A", "n/a", "Not Applicable", "not applicable", "NULL", "NaN", "-"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a column of a row; rows are counted from 1, row 0 is the file as a whole."""

    row: int
    column: str
    why: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.why}" if self.row else f"{self.column}: {self.why}"


def faults(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[Fault]:
    """Everything that is wrong with a data set of text values, None where empty; memory grows with its prices."""
    yield from _heads(columns)
    there = frozenset(columns)
    whole = _Whole()
    for number, row in enumerate(rows, 1):
        found = _values(row, there)
        found += rules.broken(row, frozenset(name for name, _ in found))
        for name, why in (*found, *whole.broken(row)):
            yield Fault(number, name, why)


def _heads(columns: Sequence[str]) -> Iterator[Fault]:
    for name in MANDATORY:
        if name not in columns:
            yield Fault(0, name, "this mandatory column is missing.")
    for name in sorted({each for each in columns if list(columns).count(each) > 1}):
        yield Fault(0, name, "this column is there more than once.")
    own = False
    for name in columns:
        if name in COLUMNS:
            if own:
                yield Fault(0, name, "columns of FOCUS come before those of one's own.")
            continue
        own = True
        if not (name.startswith("x_") and _NAME.fullmatch(name[2:])):
            yield Fault(0, name, "a column of one's own is named x_ and then in PascalCase.")


def _values(row: Row, there: frozenset[str]) -> list[tuple[str, str]]:
    found = []
    for name in sorted(there):
        value, column = row.get(name), COLUMNS.get(name)
        if value is None:
            if column is not None and not column.empty:
                found.append((name, "this may not be empty."))
            continue
        why = _unlike(value, kind_of(name)) or _outside(value, column)
        if why:
            found.append((name, why))
    return found


def _unlike(value: str, kind: str) -> str:
    """Why a value is none of its type, "" if it is one."""
    if value.strip() in _PLACEHOLDERS:
        return f"{value!r} stands for nothing; leave it empty."
    match kind:
        case "decimal":
            return "" if _NUMBER.fullmatch(value) else f"{value[:40]!r} is no decimal number."
        case "moment":
            return "" if _MOMENT.fullmatch(value) and _real(value) else f"{value[:40]!r} is no YYYY-MM-DDTHH:mm:ssZ."
        case "currency":
            return "" if _CURRENCY.fullmatch(value) else f"{value[:40]!r} is no currency of ISO 4217."
        case "json":
            return _not_pairs(value)
    return ""


def _outside(value: str, column: Column | None) -> str:
    if column is None or not column.allowed or value in column.allowed:
        return ""
    return f"{value[:40]!r} is not one of {', '.join(column.allowed[:6])}{', …' if len(column.allowed) > 6 else '.'}"


def _real(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _not_pairs(value: str) -> str:
    try:
        pairs = json.loads(value, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return "this is no JSON object."
    if not value.lstrip().startswith("{"):
        return "this is no JSON object."
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        return "a key is there twice."
    return "a value is an object or a list." if any(isinstance(each, list) for _, each in pairs) else ""


@final
@dataclass(slots=True)
class _Whole:
    """Rules over all rows: what one name stands for may not change."""

    seen: dict[tuple[str, str], Any] = field(default_factory=dict)

    def broken(self, row: Row) -> Iterator[tuple[str, str]]:
        for name, of in (("SkuPriceId", "SkuId"), ("ServiceName", "ServiceCategory")):
            value, stands = row.get(name), row.get(of)
            if value is None or stands is None:
                continue
            if self.seen.setdefault((name, value), stands) != stands:
                yield name, f"{value[:40]!r} has more than one {of}."
