"""A table in a CSV file as arrays: one column is the answer, the others are the features."""

from __future__ import annotations

import csv
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_EXACT = 2.0**53  # beyond it a float64 does not hold every whole number
_DELIMITERS = ",;\t"
_EMPTY = frozenset({"", "na", "nan", "null", "none", "?"})


def table(path: Path, target: str, *, drop: Collection[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Read a CSV file with a header: x (N, columns) float64 without `target` and `drop`, and y (N,) from `target`.

    Empty cells of x (also NA, nan, null, none, ?) become NaN. A target of whole numbers is int64, of text is numbered
    from 0 in sorted order, and else is float64.
    """
    header, rows = _read(path)
    for name in (target, *drop):
        _column(header, name, path)
    answer = header.index(target)
    kept = [number for number, name in enumerate(header) if name != target and name not in drop]
    if not kept:
        raise BadInputError(f"{path.name} has no column but {target!r}.", "add features to learn from.")
    x = np.array([[_number(row[number], header[number], line) for number in kept] for line, row in rows])
    return x, _answers([(line, row[answer].strip()) for line, row in rows], target)


def columns(path: Path, *, drop: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read a CSV file with a header: one array (N,) per column but those in `drop`, named as in the header.

    A column is int64, float64 with NaN for empty cells, or text. Raises `BadInputError` that names the line where a
    column of numbers turns to text.
    """
    header, rows = _read(path)
    for name in (*header, *drop):
        _column(header, name, path)
    kept = [number for number, name in enumerate(header) if name not in drop]
    return {
        header[number]: _typed(header[number], [(line, row[number].strip()) for line, row in rows]) for number in kept
    }


def _typed(name: str, cells: list[tuple[int, str]]) -> np.ndarray:
    numbers, odd = [], []
    for line, text in cells:
        try:
            numbers.append(float("nan") if text.lower() in _EMPTY else float(text))
        except ValueError:
            odd.append((line, text))
    if 2 * len(odd) > len(cells):
        return np.array([text for _, text in cells])
    if odd:
        raise BadInputError(
            f"Column {name!r} changes type: it holds numbers, but {odd[0][1][:40]!r} in line {odd[0][0]}.",
            f"correct the cell, or leave the column out: drop {name!r}.",
        )
    values = np.array(numbers)
    with np.errstate(invalid="ignore"):
        whole = bool(np.all((values == np.round(values)) & (np.abs(values) <= _EXACT)))
    return values.astype(np.int64) if whole else values


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    if not path.is_file():
        raise BadInputError(f"There is no file {path}.", "check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path.name} is not text in UTF-8.", "save it as CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    lines = csv.reader(text.splitlines(), delimiter=delimiter)
    numbered = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    if len(numbered) < 2:
        raise BadInputError(f"{path.name} has no rows below its header.", "give a table with a header and rows.")
    header = [name.strip() for name in numbered[0][1]]
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise BadInputError(
                f"Line {line} of {path.name} has {len(row)} cells, the header has {len(header)}.", "correct the line."
            )
    return header, numbered[1:]


def _column(header: list[str], name: str, path: Path) -> None:
    if name not in header:
        near = get_close_matches(name, header, n=3, cutoff=0.4) or header[:8]
        raise BadInputError(f"{path.name} has no column {name!r}.", f"use one of: {', '.join(near)}.")
    if header.count(name) > 1:
        raise BadInputError(f"{path.name} has {header.count(name)} columns {name!r}.", "give each its own name.")


def _number(cell: str, column: str, line: int) -> float:
    text = cell.strip()
    if text.lower() in _EMPTY:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise BadInputError(
            f"Column {column!r} holds {text[:40]!r} in line {line}, which is no number.",
            f"number its values, or leave the column out: drop=[{column!r}].",
        ) from None


def _answers(cells: list[tuple[int, str]], target: str) -> np.ndarray:
    for line, text in cells:
        if text.lower() in _EMPTY:
            raise BadInputError(f"Column {target!r} is empty in line {line}.", "drop the rows without an answer.")
    texts = np.array([text for _, text in cells])
    try:
        values = texts.astype(np.float64)
    except ValueError:
        return np.unique(texts, return_inverse=True)[1].astype(np.int64)
    whole = bool(np.all((values == np.round(values)) & (np.abs(values) <= _EXACT)))
    return values.astype(np.int64) if whole else values
