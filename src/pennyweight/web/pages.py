"""The list of pages: where each is, what it is called, what it tells and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.web.bills import bills_facts, ledger_facts
from pennyweight.web.live import live_facts
from pennyweight.web.overview import overview_facts
from pennyweight.web.runs import run_facts, runs_facts
from pennyweight.web.tenants import tenants_facts
from pennyweight.web.versions import registry_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.web.books import Books, Query


@dataclass(frozen=True, slots=True)
class Page:
    """A page: `facts` is what it tells, also as JSON."""

    path: str
    title: str
    template: str
    facts: Callable[[Books, Query], dict[str, Any]]


PAGES = (
    Page("/", "Overview", "overview.html", overview_facts),
    Page("/runs", "Runs", "runs.html", runs_facts),
    Page("/ledger", "Ledger", "ledger.html", ledger_facts),
    Page("/bills", "Bills", "bills.html", bills_facts),
    Page("/registry", "Registry", "registry.html", registry_facts),
    Page("/tenants", "Tenants", "tenants.html", tenants_facts),
    Page("/live", "Live", "live.html", live_facts),
)


def run_page(id_: int) -> Page:
    """The page of one run."""
    return Page(f"/runs/{id_}", f"Run {id_}", "run.html", lambda books, _: run_facts(books, id_))
