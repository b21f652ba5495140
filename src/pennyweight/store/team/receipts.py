"""The rows of requests as they were recorded, one by one: what every bill is the sum of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from pennyweight.store.team.tables import usage
from pennyweight.store.team.usage import Request, Units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_AT_ONCE = 1000  # rows in memory


@dataclass(frozen=True, slots=True)
class Sought:
    """Which requests: of a tenant, of a model, not older than a moment, the last so many; empty and 0 mean all."""

    tenant: str = ""
    model: str = ""
    since_ns: int = 0
    most: int = 0


def receipts(link: Connection, sought: Sought) -> Iterator[Request]:
    """The requests sought, newest first, in bounded memory however many there are."""
    asked = select(usage).where(usage.c.at_ns >= sought.since_ns).order_by(usage.c.id.desc())
    if sought.tenant:
        asked = asked.where(usage.c.tenant == sought.tenant)
    if sought.model:
        asked = asked.where(usage.c.model == sought.model)
    if sought.most:
        asked = asked.limit(sought.most)
    for row in link.execution_options(yield_per=_AT_ONCE).execute(asked):
        units = Units(row.in_units, row.out_units, row.cached_units, row.compute_ns, row.energy_uj)
        yield Request(
            row.request, row.at_ns, row.tenant, row.key, row.model, row.number, units, row.status, row.cost_nusd
        )
