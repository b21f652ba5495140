"""The first page: what is served, what it costs, what is near a limit, what was noticed, what was run."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pennyweight.store.team.alerts import alerts
from pennyweight.store.team.budgets import warnings
from pennyweight.store.team.rollouts import MILLION, ongoing
from pennyweight.store.team.workers import live
from pennyweight.web.live import numbers
from pennyweight.web.runs import last_runs
from pennyweight.web.tenants import budget_facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.store.team.rollouts import Rollout
    from pennyweight.store.team.workers import Worker
    from pennyweight.web.books import Books, Query

_SHOWN = 8
_WEEK_NS = 7 * 86_400 * 10**9


def overview_facts(books: Books, _: Query) -> dict[str, Any]:
    """All of it; lists hold what is newest or most used."""
    now_ns = time.time_ns()
    with books.reading() as link:
        return {
            "now": numbers(link, now_ns),
            "serving": _serving(live(link)),
            "trials": [trial_facts(each) for each in ongoing(link)],
            "budgets": [budget_facts(each) for each in warnings(link, now_ns)],
            "alerts": [asdict(each) for each in alerts(link, "", now_ns - _WEEK_NS, _SHOWN)],
            "runs": last_runs(books, _SHOWN),
        }


def trial_facts(of: Rollout) -> dict[str, Any]:
    """A trial that goes on."""
    return {
        "model": of.model,
        "alias": of.alias,
        "number": of.number,
        "before": of.before,
        "share": of.share_ppm / MILLION,
        "shadow": of.shadow,
        "until_ns": of.until_ns,
        "who": of.who,
    }


def _serving(workers: Iterable[Worker]) -> list[dict[str, Any]]:
    """What every name stands for now, and in how many processes."""
    found: dict[tuple[str, str, int, str, str], int] = {}
    for worker in workers:
        for each in worker.serves:
            key = each.asked, each.model, each.number, worker.address, each.why
            found[key] = found.get(key, 0) + 1
    heads = "asked", "model", "number", "address", "note"
    return [dict(zip(heads, key, strict=True)) | {"processes": many} for key, many in sorted(found.items())]
