"""What was answered and what would have been right, joined by request: labels come hours or weeks later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from pennyweight.errors import BadInputError
from pennyweight.store.team.tables import answer, label, usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Table


_MOST_NAMES = 500  # in one question


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version said to one row of a request: a class or a value, and the chance it gave that (-1: none)."""

    request: str
    row: int
    at_ns: int
    model: str
    number: int
    said: float
    sure: float


@dataclass(frozen=True, slots=True)
class Label:
    """What would have been the right answer to one row of a request."""

    request: str
    label: float
    row: int = 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer whose label is known, since `at_ns`."""

    at_ns: int
    said: float
    sure: float
    label: float


def note(link: Connection, answers: Sequence[Answer]) -> None:
    """Keep answers, so that labels can be joined; one that is there already stays as it is."""
    if not answers:
        return
    rows = [(of.request, of.row, of.at_ns, of.model, of.number, of.said, of.sure) for of in answers]
    if link.dialect.name == "postgresql":
        link.exec_driver_sql(_COLUMNWISE, tuple(map(list, zip(*rows, strict=True))))
    else:
        link.exec_driver_sql(_ROWWISE, rows)


# Given to the driver as it is: who waits for requests to be recorded waits for this too.
_INTO = "INSERT INTO answer (request, row, at_ns, model, number, said, sure)"
_KINDS = ("text", "bigint", "bigint", "text", "bigint", "float8", "float8")
_ROWWISE = f"{_INTO} VALUES ({', '.join('?' * len(_KINDS))}) ON CONFLICT DO NOTHING"
_ARRAYS = ", ".join(f"%s::{each}[]" for each in _KINDS)
_COLUMNWISE = " ".join((_INTO, "SELECT * FROM", f"unnest({_ARRAYS})", "ON CONFLICT DO NOTHING"))


def add(link: Connection, labels: Sequence[Label]) -> int:
    """Keep labels, a later one for the same row instead of an earlier one; how many belong to an answer kept here.

    A label that corrects an earlier one counts from when the earlier one came: one row is never counted twice.
    """
    kept = {(each.request, each.row): each.label for each in labels}
    if not kept:
        return 0
    now_ns = time.time_ns()
    rows = [{"request": request, "row": row, "at_ns": now_ns, "label": said} for (request, row), said in kept.items()]
    made = _insert(link, label)
    newer = {"label": made.excluded.label}
    link.execute(made.on_conflict_do_update(index_elements=["request", "row"], set_=newer), rows)
    found: set[tuple[str, int]] = set()
    for names in _some({request for request, _ in kept}):
        asked = select(answer.c.request, answer.c.row).where(answer.c.request.in_(names))
        found.update((row.request, row.row) for row in link.execute(asked))
    return len(found & kept.keys())


def add_of(link: Connection, tenant: str, model: str, labels: Sequence[Label]) -> int:
    """Keep labels, as `add` does, of a tenant's own requests to a model.

    Raises `BadInputError`, and keeps nothing, if one is about another's request or about none: which, is not said.
    """
    own: set[str] = set()
    for names in _some({each.request for each in labels}):
        asked = select(usage.c.request).where(usage.c.request.in_(names))
        own.update(link.execute(asked.where(usage.c.tenant == tenant, usage.c.model == model)).scalars())
    for n, each in enumerate(labels):
        if each.request not in own:
            raise BadInputError(f"Label {n} is about no request of yours to {model}.", "leave it out.")
    return add(link, labels)


def labelled(
    link: Connection, model: str, number: int, after_ns: int = 0, until_ns: int = 2**62
) -> tuple[Labelled, ...]:
    """The answers of a version whose labels came after a moment and until another, in the order in which they came."""
    asked = (
        select(label.c.at_ns, answer.c.said, answer.c.sure, label.c.label)
        .select_from(_joined())
        .where(answer.c.model == model, answer.c.number == number, label.c.at_ns > after_ns, label.c.at_ns <= until_ns)
        .order_by(label.c.at_ns, label.c.request, label.c.row)
    )
    return tuple(Labelled(row.at_ns, row.said, row.sure, row.label) for row in link.execute(asked))


def _some(names: set[str]) -> Iterator[list[str]]:
    """As many as fit in one question at a time."""
    ordered = sorted(names)
    for first in range(0, len(ordered), _MOST_NAMES):
        yield ordered[first : first + _MOST_NAMES]


def _joined() -> Any:
    return label.join(answer, and_(answer.c.request == label.c.request, answer.c.row == label.c.row))


def _insert(link: Connection, into: Table) -> Any:
    """An insert that says what to do where the row is there already."""
    from sqlalchemy.dialects import postgresql, sqlite

    return (postgresql if link.dialect.name == "postgresql" else sqlite).insert(into)
