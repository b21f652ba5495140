"""The page of tenants: who may ask, by which keys, and where budgets stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pennyweight.store.team.budgets import states
from pennyweight.store.team.tenants import keys, tenants

if TYPE_CHECKING:
    from pennyweight.store.team.budgets import State
    from pennyweight.web.books import Books, Query


def tenants_facts(books: Books, _: Query) -> dict[str, Any]:
    """Tenants with the ids of their keys, and all budgets; of a key there is nothing but its id and its role."""
    with books.reading() as link:
        found, held, stands = tenants(link), keys(link), states(link, time.time_ns())
    rows = [
        {
            "name": each.name,
            "organisation": each.organisation,
            "zone": each.zone,
            "rate_s": each.rate_s,
            "open": each.open,
            "keys": [{"id": key.id, "role": key.role} for key in held if key.tenant == each.name],
        }
        for each in found
    ]
    return {"tenants": rows, "budgets": [budget_facts(each) for each in stands]}


def budget_facts(stands: State) -> dict[str, Any]:
    """A budget and where it stands."""
    of = stands.budget
    return {
        "level": of.level,
        "owner": of.owner,
        "period": of.period,
        "zone": of.zone,
        "hard": of.hard,
        "limit_nusd": of.limit_nusd,
        "spent_nusd": stands.spent_nusd,
        "reserved_nusd": stands.reserved_nusd,
        "left_nusd": stands.left_nusd,
        "used": stands.used,
        "warning": stands.warning,
        "end_ns": stands.end_ns,
    }
