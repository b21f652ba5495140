"""What versions on trial have done: requests, errors, time, cost, agreement, as sums that many processes add to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from pennyweight.store.team.tables import answer, label, tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from pennyweight.store.team.rollouts import Rollout


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over requests: `latency_us` and `compute_us` in microseconds, `compute_sq` of the squares of the latter.

    `errors` are requests that the model failed at and are among `requests`. `compared` and `agreed` are rows that both
    versions answered, or tokens where texts are continued; `labelled` are rows whose label came later, of which
    `quality` were answered right: these two are counted when they are asked for, not added up. Of `paced` texts,
    `pace_us` adds up the microseconds that a token took, and `pace_sq` their squares.
    """

    requests: int = 0
    errors: int = 0
    latency_us: int = 0
    compute_us: int = 0
    compute_sq: float = 0.0
    cost_nusd: int = 0
    compared: int = 0
    agreed: int = 0
    paced: int = 0
    pace_us: int = 0
    pace_sq: float = 0.0
    labelled: int = 0
    quality: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in Tally.__slots__))


_SUMS = Tally.__slots__[:-2]


def add(link: Connection, seen: Mapping[tuple[int, int], Tally]) -> None:
    """Add what was seen, by (rollout, number); sums of several processes come together."""
    if seen:
        rows = [
            {"rollout": rollout, "number": number} | {name: getattr(each, name) for name in _SUMS}
            for (rollout, number), each in sorted(seen.items())
        ]
        link.execute(_adding(link), rows)


def tallies(link: Connection, trial: Rollout) -> dict[int, Tally]:
    """The sums of a trial, by version number, with the labels that came until now for what was answered in it."""
    rows = link.execute(select(tally).where(tally.c.rollout == trial.id))
    found = {row.number: Tally(*(getattr(row, name) for name in _SUMS)) for row in rows}
    for number, count, right in link.execute(_labels(trial)):
        found[number] = replace(found.get(number, Tally()), labelled=count, quality=int(right or 0))
    return found


def _labels(trial: Rollout) -> Any:
    """How many rows were labelled, and how many of them were answered right, by version."""
    right = func.sum(case((answer.c.said == label.c.label, 1), else_=0))
    here = (answer.c.model == trial.model) & answer.c.number.in_((trial.number, trial.before))
    return (
        select(answer.c.number, func.count(), right)
        .select_from(label.join(answer, (answer.c.request == label.c.request) & (answer.c.row == label.c.row)))
        .where(here, answer.c.at_ns >= trial.began_ns)
        .group_by(answer.c.number)
    )


def _adding(link: Connection) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if link.dialect.name == "postgresql" else sqlite
    made = dialect.insert(tally)
    sums = {name: tally.c[name] + made.excluded[name] for name in _SUMS}
    return made.on_conflict_do_update(index_elements=["rollout", "number"], set_=sums)
