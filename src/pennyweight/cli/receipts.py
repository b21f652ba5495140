"""`pennyweight requests`: the rows that bills are sums of, on the screen or in a file."""

from __future__ import annotations

import csv
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.store import disk
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.receipts import Sought, receipts
from pennyweight.units import parse_seconds, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pennyweight.store.team.usage import Request

_S = 10**9
_COLUMNS = (
    "request", "at", "tenant", "key", "model", "version", "units_in", "units_out", "units_cached", "compute_s", "joule",
    "status", "usd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed."""

    tenant: str
    model: str
    since: str
    last: int
    out: Path | None

    def sought(self) -> Sought:
        """Which rows these are; all of them where they go to a file."""
        since_ns = time.time_ns() - round(parse_seconds(self.since) * _S) if self.since else 0
        return Sought(self.tenant, self.model, since_ns, 0 if self.out else self.last)


def tell_requests(asked: Asked, store: str, *, json: bool) -> None:
    """List requests, newest first, or write all of them to a CSV file."""
    sought = asked.sought()
    with opened(store) as engine, reading(engine) as link:
        found = receipts(link, sought)
        if asked.out:
            count = _written(asked.out, found)
            say_json({"requests": count, "path": str(asked.out)}) if json else say(f"{count} rows are in {asked.out}.")
            return
        rows = [_facts(each) for each in found]
    if json:
        say_json(rows)
    elif not rows:
        say("No such request was recorded.")
    else:
        shown = ("at", "request", "tenant", "model", "units_in", "units_out", "units_cached", "status", "usd")
        cells = [(*(str(each[name]) for name in shown[:-1]), each["usd"], seconds(each["compute_s"])) for each in rows]
        say_table("Requests", (*shown, "compute"), cells)


def _written(out: Path, found: Iterator[Request]) -> int:
    """Write rows, as they come, to a file that is there whole or not at all."""
    disk.check_plain(out)
    aside, count = out.with_name(f".{out.name}.{secrets.token_hex(8)}"), 0
    with disk.explained(out, "requests"):
        try:
            with aside.open("x", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(_COLUMNS)
                for each in found:
                    table.writerow(_facts(each).values())
                    count += 1
            aside.replace(out)
        finally:
            aside.unlink(missing_ok=True)
    return count


def _facts(of: Request) -> dict[str, Any]:
    units = of.units
    when = datetime.fromtimestamp(of.at_ns / _S, UTC).isoformat(timespec="milliseconds")
    money = f"{of.cost_nusd / _S:.9f}"
    values = (of.id, when, of.tenant, of.key, of.model, of.number, units.fed, units.made, units.cached)
    return dict(zip(_COLUMNS, (*values, units.compute_ns / _S, units.energy_uj / 1e6, of.status, money), strict=True))
