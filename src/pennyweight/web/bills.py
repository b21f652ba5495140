"""The pages of money: what requests cost tenants, and what was spent on finding and training models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.report.facts import cost_facts
from pennyweight.store.ledger import By
from pennyweight.store.team.bills import BY, lines
from pennyweight.store.team.periods import month as month_of

if TYPE_CHECKING:
    from pennyweight.web.books import Books, Query

_GROUPS = get_args(By)


def bills_facts(books: Books, query: Query) -> dict[str, Any]:
    """The bill of a `month` (by default this one) in UTC, split `by` words such as "tenant,model", dearest first."""
    month = query.get("month") or f"{datetime.now(UTC):%Y-%m}"
    split = tuple(each.strip() for each in query.get("by", "tenant,model").split(",") if each.strip())
    if not split or len(split) > len(BY):
        raise BadInputError("A bill is split by something.", f"use some of {', '.join(BY)}.")
    with books.reading() as link:
        found = lines(link, split, *month_of(month))
    return {
        "month": month,
        "by": list(split),
        "lines": [each.facts(split) for each in found],
        "total_nusd": sum(each.total_nusd for each in found),
    }


def ledger_facts(books: Books, query: Query) -> dict[str, Any]:
    """What was spent on this machine, summed up `by` job, phase, lever, day or part of training."""
    by = query.get("by", "job")
    if by not in _GROUPS:
        raise UnknownNameError.of("grouping", by[:40], _GROUPS)
    with books.ledger() as ledger:
        found = ledger.spent(by) if ledger else []  # type: ignore[arg-type]  # checked above
    rows = [
        {"key": each.key, "entries": each.entries, "unpriced": each.unpriced} | cost_facts(each.cost) for each in found
    ]
    return {"by": by, "groups": list(_GROUPS), "rows": rows, "total_usd": sum(each.cost.usd for each in found)}
