"""The pages of money: what requests cost tenants, and what was spent on finding and training models."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.report.facts import cost_facts
from pennyweight.store.ledger import By
from pennyweight.store.team.bills import BY, lines
from pennyweight.store.team.periods import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.store.team.bills import Line
    from pennyweight.web.books import Books, Query

_S = 10**9
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_GROUPS = get_args(By)


def bills_facts(books: Books, query: Query) -> dict[str, Any]:
    """The bill of a `month` (by default this one) in UTC, split `by` words such as "tenant,model", dearest first."""
    month = query.get("month") or f"{datetime.now(UTC):%Y-%m}"
    split = tuple(each.strip() for each in query.get("by", "tenant,model").split(",") if each.strip())
    if not split or len(split) > len(BY):
        raise BadInputError("A bill is split by something.", f"use some of {', '.join(BY)}.")
    with books.reading() as link:
        found = lines(link, split, *_month(month))
    return {
        "month": month,
        "by": list(split),
        "lines": [_line(split, each) for each in found],
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


def _month(text: str) -> tuple[int, int]:
    match = _MONTH.fullmatch(text)
    if match is None or not 1970 <= int(match[1]) < 2200 or not 1 <= int(match[2]) <= 12:
        raise BadInputError(f"{text[:40]!r} is no month.", f"write it as {time.strftime('%Y-%m')}.")
    return span("month", "UTC", int(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC).timestamp()) * _S)


def _line(split: Sequence[str], line: Line) -> dict[str, Any]:
    return dict(zip(split, line.of, strict=True)) | {
        "requests": line.requests,
        "in_units": line.fed,
        "out_units": line.made,
        "compute_s": line.compute_s,
        "joule": line.joule,
        "usage_nusd": line.usage_nusd,
        "corrected_nusd": line.corrected_nusd,
        "total_nusd": line.total_nusd,
    }
