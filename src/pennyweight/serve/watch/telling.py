"""Labels as they come from outside: a file of rows, or the body of a request."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
from pennyweight.store.team.labels import Label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST = 32  # characters of a request's id
_MOST_ROWS = 2**31 - 1


def read_labels(file: Path) -> tuple[Label, ...]:
    """Labels of a CSV file with the columns request, label and, where requests have several rows, row.

    Raises `BadInputError`, naming the line, for what is no label.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{file.name} cannot be read as CSV.", "give a UTF-8 file with commas.") from error
    return tuple(_label(row, f"{file.name}, line {n}") for n, row in enumerate(rows, 2))


def labels_of(body: Any) -> tuple[Label, ...]:
    """Labels of a request's body: {"labels": [{"request": "…", "label": 3, "row": 0}, …]}, where row may be missing.

    Raises `BadInputError`, saying which, for what is no label.
    """
    found = body.get("labels") if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadInputError("There are no labels in the body.", 'send {"labels": [{"request": "…", "label": 3}]}.')
    return tuple(_label(each, f"label {n}") for n, each in enumerate(found))


def _label(row: Mapping[str, Any], where: str) -> Label:
    request, text, of = row.get("request"), row.get("label"), row.get("row")
    left_out = of is None or (isinstance(of, str) and not of)
    number, label = _number(0 if left_out else of), _number(text)
    if not isinstance(request, str) or not 0 < len(request) <= _LONGEST:
        raise BadInputError(f"{where} names no request.", f"give its id, at most {_LONGEST} characters, as request.")
    if not math.isfinite(label):
        raise BadInputError(
            f"{where} has no label.", "give the number of the right class, or the right value, as label."
        )
    if number != number // 1 or not 0 <= number <= _MOST_ROWS:
        raise BadInputError(f"{where} has no such row.", "number a request's rows from 0, or leave row out.")
    return Label(request, label, int(number))


def _number(value: Any) -> float:
    """As a number, nan if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
