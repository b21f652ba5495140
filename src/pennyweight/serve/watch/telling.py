"""Labels as they come from outside: a file of rows, or the body of a request."""

from __future__ import annotations

import csv
import math
import re
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
from pennyweight.store.team.labels import Label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST = 1000
"""Labels of one request."""
_REQUEST = re.compile(r"[0-9A-Za-z._-]{1,32}")
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
    """Labels of a request's body: [{"request": "…", "row": 0, "label": 3}, …], where row may be left out.

    Raises `BadInputError`, saying which, for what is no label, and for more than `MOST`.
    """
    if not isinstance(body, list) or not body or not all(isinstance(each, dict) for each in body):
        raise BadInputError("There are no labels in the body.", 'send [{"request": "…", "row": 0, "label": 3}].')
    if len(body) > MOST:
        raise BadInputError(f"{len(body)} labels are too many at once.", f"send at most {MOST}.")
    return tuple(_label(each, f"label {n}") for n, each in enumerate(body))


def _label(row: Mapping[str, Any], where: str) -> Label:
    request, text, of = row.get("request"), row.get("label"), row.get("row")
    left_out = of is None or (isinstance(of, str) and not of)
    number, label = _number(0 if left_out else of), _number(text)
    if not isinstance(request, str) or not _REQUEST.fullmatch(request):
        raise BadInputError(f"{where} names no request.", "give as request its id, as the reply's x-request-id says.")
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
