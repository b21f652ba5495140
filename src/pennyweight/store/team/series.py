"""What was asked over time: requests, errors, compute and cost of everybody, in even steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from pennyweight.store.team.tables import tenant, usage

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FAILED = 400


@dataclass(frozen=True, slots=True)
class Step:
    """The requests that were answered from `begin_ns` on: how many, how many failed, what they took and cost.

    `fed` are the rows or tokens that went in, `made` those that came out.
    """

    begin_ns: int
    requests: int = 0
    errors: int = 0
    fed: int = 0
    made: int = 0
    compute_ns: int = 0
    slowest_ns: int = 0
    cost_nusd: int = 0

    @property
    def mean_ns(self) -> int:
        """Compute per request."""
        return self.compute_ns // self.requests if self.requests else 0


def series(link: Connection, begin_ns: int, end_ns: int, step_ns: int, model: str = "") -> tuple[Step, ...]:
    """The steps from the one that holds `begin_ns` to the one before `end_ns`, also those in which nobody asked.

    Time grows with the requests in between, not with those before: they are found tenant by tenant, by their index.
    """
    first = begin_ns - begin_ns % step_ns
    at = usage.c.at_ns.op("/")(step_ns)
    asked = (
        select(
            at,
            func.count(),
            func.sum(case((usage.c.status >= _FAILED, 1), else_=0)),
            func.sum(usage.c.in_units),
            func.sum(usage.c.out_units),
            func.sum(usage.c.compute_ns),
            func.max(usage.c.compute_ns),
            func.sum(usage.c.cost_nusd),
        )
        .where(usage.c.tenant.in_(select(tenant.c.name)), usage.c.at_ns >= first, usage.c.at_ns < end_ns)
        .group_by(at)
    )
    rows = link.execute(asked.where(usage.c.model == model) if model else asked)
    found = {int(row[0]) * step_ns: Step(int(row[0]) * step_ns, *(int(each) for each in row[1:])) for row in rows}
    return tuple(found.get(begin, Step(begin)) for begin in range(first, end_ns, step_ns))
