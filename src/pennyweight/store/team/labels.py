"""What was answered and what would have been right, joined by request: labels come hours or weeks later."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from pennyweight.store.team.tables import answer, label, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    rows = [{name: getattr(each, name) for name in Answer.__slots__} for each in answers]
    if rows:
        link.execute(_insert(link, answer).on_conflict_do_nothing(), rows)


def add(link: Connection, labels: Sequence[Label]) -> int:
    """Keep labels, a later one for the same row instead of an earlier one; how many belong to an answer kept here."""
    if not labels:
        return 0
    now_ns = time.time_ns()
    rows = [{"request": each.request, "row": each.row, "at_ns": now_ns, "label": each.label} for each in labels]
    made = _insert(link, label)
    newer = {"label": made.excluded.label, "at_ns": made.excluded.at_ns}
    link.execute(made.on_conflict_do_update(index_elements=["request", "row"], set_=newer), rows)
    asked = select(func.count()).select_from(_joined()).where(label.c.at_ns == now_ns)
    return int(link.execute(asked).scalar_one())


def add_of(link: Connection, tenant: str, model: str, labels: Sequence[Label]) -> int:
    """Keep those labels that are about a tenant's own requests to a model, as `add` does; others are passed over."""
    own: set[str] = set()
    for first in range(0, len(labels), _MOST_NAMES):
        names = {each.request for each in labels[first : first + _MOST_NAMES]}
        asked = select(usage.c.request).where(usage.c.request.in_(names))
        own.update(link.execute(asked.where(usage.c.tenant == tenant, usage.c.model == model)).scalars())
    return add(link, [each for each in labels if each.request in own])


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


def _joined() -> Any:
    return label.join(answer, and_(answer.c.request == label.c.request, answer.c.row == label.c.row))


def _insert(link: Connection, into: Table) -> Any:
    """An insert that says what to do where the row is there already."""
    from sqlalchemy.dialects import postgresql, sqlite

    return (postgresql if link.dialect.name == "postgresql" else sqlite).insert(into)
