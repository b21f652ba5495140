"""Asking about tables as they come: rows that cannot be answered, or are impossible, cost no other row its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.layout.rows import NoNumberError
from pennyweight.layout.tables.possible import contradicted, impossible, unread
from pennyweight.layout.tables.table import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows
    from pennyweight.layout.tables.table import Learnt, Table

    Floats = NDArray[np.float64]

_FAULTS = (PennyweightError, ArithmeticError, LookupError, ValueError)
_TRIES = 256  # predictions made to find the rows that cannot be answered; what is left then is given up together
_UNANSWERED = "the row lacks what its kind needs, or says what cannot be"


@dataclass(frozen=True, slots=True)
class Answers:
    """Forecasts (n,) by target, and why (n,) a row has none: nothing where it has."""

    forecasts: Mapping[str, Forecast]
    notes: NDArray[np.str_]


def ask(learnt: Learnt, rows: Rows) -> Answers:
    """Predict every row; one that cannot be is NaN, and noted.

    Raises `BadInputError` with the first reason where no row at all can be predicted.
    """
    notes = impossible(rows).astype(object)
    left = np.flatnonzero(~_some(notes))
    with np.errstate(all="ignore"):
        while len(left):
            asked = rows.take(left)
            try:
                told = learnt.predict(asked)
            except NoNumberError as error:
                why = _no_numbers(asked, error)
            except _FAULTS as error:
                why = _guilty(learnt.predict, asked, error)
            else:
                return _some_answered(_whole(told, left, notes, _joined(contradicted(rows), unread(rows))))
            notes[left] = why
            left = left[~_some(why)]
    raise _nothing(str(notes[0]))


def measured(kind: Table, rows: Rows) -> tuple[Mapping[str, Floats], NDArray[np.str_]]:
    """What was measured (n,) by target, and what is noted (n,) of rows where that is no number above zero."""
    notes = np.full(len(rows), "", dtype=object)
    with np.errstate(all="ignore"):
        while True:
            try:
                found = kind.measured(rows)
            except NoNumberError as error:
                bad = _no_numbers(rows, error)
                notes = np.where(_some(bad), bad, notes)
                rows = rows.blanked(error.column)
                continue
            except _FAULTS as error:
                found, bad = _apart(kind, rows, error)
                notes = np.where(_some(bad), bad, notes)
            break
    positive = {}
    for name, each in found.items():
        wrong = (each <= 0) | np.isinf(each)
        notes = np.where(wrong & ~_some(notes), f"{name} is measured as no number above zero, and left out", notes)
        positive[name] = np.where(wrong, np.nan, each)
    return positive, notes.astype(np.str_)


def _whole(
    told: Mapping[str, Forecast], at: NDArray[np.int64], notes: NDArray[np.object_], doubts: NDArray[Any]
) -> Answers:
    """The forecasts spread over all rows; what is not finite or not above zero is no answer; `doubts` (n,) are said."""
    found, any_at = {}, np.zeros(len(notes), dtype=np.bool_)
    for name, each in told.items():
        good = np.isfinite(each.value) & (each.value > 0) & (each.low <= each.value) & (each.value <= each.high)
        values = [np.full(len(notes), np.nan) for _ in range(3)]
        for whole, part in zip(values, (each.value, each.low, each.high), strict=True):
            whole[at] = np.where(good, part, np.nan)
        outside = np.full(len(notes), "", dtype=object)
        outside[at] = each.outside
        outside = np.where(doubts.astype(np.bool_), _joined(doubts, outside), outside)
        silent = ~np.isfinite(values[0])
        notes = np.where(silent & ~_some(notes), outside, notes)
        any_at |= ~silent
        found[name] = Forecast(values[0], values[1], values[2], np.where(silent, "", outside).astype(np.str_))
    notes = np.where(any_at, "", np.where(_some(notes), notes, _UNANSWERED))
    return Answers(found, notes.astype(np.str_))


def _some_answered(answers: Answers) -> Answers:
    """The answers; none at all is an error."""
    if not any(np.isfinite(each.value).any() for each in answers.forecasts.values()):
        raise _nothing(str(answers.notes[0]))
    return answers


def _nothing(why: str) -> BadInputError:
    return BadInputError("No row of the table can be predicted.", f"look at the first: {why}")


def _no_numbers(rows: Rows, error: NoNumberError) -> NDArray[np.object_]:
    """What to note (n,) of rows whose field of a column is no number."""
    column = error.column
    texts = rows.text(column)
    said = [
        f"{text[:40]!r} in column {column} is no number{'; write it like 1234.5' if ',' in text else ''}"
        for text in texts.tolist()
    ]
    return np.where(rows.numeric(column), "", np.array(said, dtype=object))


def _apart(kind: Table, rows: Rows, error: Exception) -> tuple[dict[str, Floats], NDArray[np.object_]]:
    """What was measured (n,) by target without the rows that cannot be read, and why (n,) those cannot."""
    notes = _guilty(kind.measured, rows, error)
    good, found = ~_some(notes), {name: np.full(len(rows), np.nan) for name in kind.targets}
    if good.any():
        try:
            for name, each in kind.measured(rows.take(good)).items():
                found[name][good] = each
        except _FAULTS as again:
            notes[good] = _said(again)
    return found, notes


def _guilty(read: Callable[[Rows], object], rows: Rows, error: Exception) -> NDArray[np.object_]:
    """Why (n,) rows cannot be read, empty for those that can; halves are tried until single rows are found."""
    notes = np.full(len(rows), "", dtype=object)
    parts, tries = [(np.arange(len(rows)), error)], 0
    while parts:
        at, why = parts.pop()
        if len(at) == 1 or tries >= _TRIES:
            notes[at] = _said(why)
            continue
        failed = []
        for half in np.array_split(at, 2):
            tries += 1
            try:
                read(rows.take(half))
            except _FAULTS as again:
                failed.append((half, again))
        parts += failed or [(at[:1], why)]  # rows that fail together alone: one goes, and the rest is asked again
    return notes


def _joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.object_]:
    """Two remarks (n,) as one; either may be empty."""
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return np.array(["; ".join(filter(None, pair)) for pair in pairs], dtype=object)


def _some(notes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Where (n,) something is noted."""
    return notes.astype(np.bool_)


def _said(error: Exception) -> str:
    if isinstance(error, PennyweightError):
        return f"{error.problem} {error.fix[:1].upper()}{error.fix[1:]}"
    return f"the row says what cannot be ({type(error).__name__}: {error})"
