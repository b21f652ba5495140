"""`pennyweight correct`, `pennyweight reconcile` and `pennyweight bill --focus`: accounts settled, told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import CorruptError
from pennyweight.serve.money.tariffs import NUSD
from pennyweight.store.focus import exported
from pennyweight.store.focus.check import faults
from pennyweight.store.team import idle, registry
from pennyweight.store.team.corrections import Correction, correct
from pennyweight.store.team.invoices import day_ns, differences, read
from pennyweight.store.team.opened import opened, reading
from pennyweight.units import parse_usd, usd

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from pennyweight.store.team.idle import Share
    from pennyweight.store.team.invoices import Difference

_SHOWN = 20


def tell_corrected(  # ruff: ignore[too-many-arguments] - the words of one command
    of: tuple[str, str], amount: str, why: str, day: str, *, store: str, json: bool
) -> None:
    """Add one correction."""
    for_ns = day_ns(day)[0] + 43_200 * NUSD if day else time.time_ns()
    made = Correction(*of, for_ns, nusd_of(amount), why)
    with opened(store) as engine, engine.begin() as link:
        if not registry.versions(link, made.model):
            registry.get(link, made.model)
        correct(link, [made])
    if json:
        say_json({name: getattr(made, name) for name in Correction.__slots__ if name != "at_ns"})
    else:
        say(f"The bill of {made.tenant} for {made.model} is {usd(made.cost_nusd / NUSD)} different from now on.")


def tell_reconciled(path: Path, least: str, store: str, *, apply: bool, json: bool) -> None:
    """Tell the differences, and end them if asked to."""
    invoice = read(path)
    with opened(store) as engine, engine.begin() if apply else reading(engine) as link:
        found = differences(link, invoice, nusd_of(least))
        if apply:
            correct(link, [each.correction(f"invoice {path.name}: {each.kind}") for each in found])
    if json:
        say_json({"differences": [_facts(each) for each in found], "left_out": invoice.left_out, "applied": apply})
        return
    if invoice.left_out:
        say(f"{invoice.left_out} rows of the invoice name no model and were left out.")
    if not found:
        say("The invoice and the meter agree.")
        return
    _show(found)
    say(f"in all {usd(sum(each.nusd for each in found) / NUSD)}")
    say("The corrections are written." if apply else "Write them with --apply.")


def tell_exported(path: Path, span: tuple[int, int], hour_nusd: int, store: str, *, json: bool) -> None:
    """Write the bill of a span as a FOCUS data set and check every row of it."""
    with opened(store) as engine, reading(engine) as link:
        count = exported.write(exported.charges(link, *span, shares_of(link, span, hour_nusd)), path)
    wrong = list(faults(*exported.read(path)))
    if wrong:
        raise CorruptError(f"{path} is not valid: {wrong[0]}", "this is our fault; please report it.")
    if json:
        say_json({"file": str(path), "rows": count, "faults": 0})
    else:
        say(f"{count} rows of FOCUS 1.2 are in {path}; every row was checked.")


def shares_of(link: Connection, span: tuple[int, int], hour_nusd: int) -> tuple[Share, ...]:
    """Idle capacity of a span up to now at a price per hour; none if that is 0."""
    begin, end = span
    return idle.allocate(link, hour_nusd, begin, min(end, time.time_ns())) if hour_nusd else ()


def nusd_of(amount: str) -> int:
    """Dollars as people write them in whole nano-dollars."""
    return round(parse_usd(amount) * NUSD)


def _show(found: tuple[Difference, ...]) -> None:
    rows = [
        (
            each.day,
            each.tenant,
            each.model,
            each.kind,
            _told(each.billed_nusd),
            _told(each.metered_nusd),
            _told(each.nusd),
        )
        for each in sorted(found, key=lambda each: -abs(each.nusd))[:_SHOWN]
    ]
    title = "Differences" if len(found) <= _SHOWN else f"The {_SHOWN} largest of {len(found)} differences"
    say_table(title, ("day", "tenant", "model", "what", "billed", "metered", "correction"), rows, (4, 5, 6))


def _told(nusd: int | None) -> str:
    return "" if nusd is None else usd(nusd / NUSD)


def _facts(of: Difference) -> dict[str, Any]:
    names = ("tenant", "model", "day", "billed_nusd", "metered_nusd", "nusd", "kind")
    return {name: getattr(of, name) for name in names}
