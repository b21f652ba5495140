"""`pennyweight tariff` and `pennyweight bill`: what requests cost, told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pennyweight.cli.invoicing import nusd_of, shares_of, tell_exported
from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.serve.tariffs import NUSD
from pennyweight.store.team import registry
from pennyweight.store.team.bills import Line, idle_lines, lines
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.usage import Price, price_of, set_price
from pennyweight.units import money, parse_usd, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EVER = 2**62
_IDLE = "idle capacity"


def tell_tariff(model: str, prices: Sequence[str], store: str, *, json: bool) -> None:
    """Set prices if there are any, then tell those that hold."""
    wanted = Price(model, *(round(parse_usd(each) * NUSD) for each in prices))
    with opened(store) as engine, engine.begin() as link:
        if not registry.versions(link, model):
            registry.get(link, model)
        if wanted != Price(model):
            set_price(link, wanted)
        holds = price_of(link, model)
    parts = {name: getattr(holds, name) for name in Price.__slots__ if name != "model"}
    if json:
        say_json({"model": model, **parts})
        return
    said = [f"{usd(value / NUSD)} per {_PER[name]}" for name, value in parts.items() if value]
    say(f"{model} costs {', '.join(said) if said else 'nothing'}.")


_PER = {
    "request_nusd": "request",
    "in_nusd": "row or token in",
    "out_nusd": "row or token out",
    "cached_nusd": "cached row or token",
    "second_nusd": "second of compute",
}


@dataclass(frozen=True)
class Asked:
    """A bill as it was asked for."""

    by: str
    month: str = ""
    idle_usd_hour: str = "0"
    focus: Path | None = None


def tell_bill(asked: Asked, store: str, *, json: bool) -> None:
    """Tell the bill of a month, or of all time; or write it for other tools."""
    split = tuple(each.strip() for each in asked.by.split(",") if each.strip())
    if not split:
        raise BadInputError("A bill is split by something.", "write --by tenant,model.")
    span = month_ns(asked.month) if asked.month else (0, _EVER)
    hour_nusd = nusd_of(asked.idle_usd_hour)
    if hour_nusd < 0:
        raise BadInputError("A machine costs less than nothing per hour.", "give --idle-usd-hour of 0 or more.")
    if asked.focus is not None:
        tell_exported(asked.focus, span, hour_nusd, store, json=json)
        return
    with opened(store) as engine, reading(engine) as link:
        found = lines(link, split, *span)
        found += idle_lines(link, split, shares_of(link, span, hour_nusd))
    if json:
        say_json([_facts(split, line) for line in found])
    elif found:
        _show(split, found, f"Bill of {asked.month}" if asked.month else "Bill")
    else:
        say("Nothing was asked in that time.")


def _show(split: Sequence[str], found: Sequence[Line], title: str) -> None:
    with_idle = any(line.idle_nusd for line in found)
    rows = [
        (
            *line.of,
            *((_IDLE if line.idle_nusd else "requests",) if with_idle else ()),
            *(("", "", "") if line.idle_nusd else (f"{line.requests:,}", f"{line.fed:,}", seconds(line.compute_s))),
            money(line.total_nusd / NUSD),
        )
        for line in found
    ]
    heads = (*split, *(("for",) if with_idle else ()), "requests", "rows", "compute", "cost")
    say_table(title, heads, rows, tuple(range(len(heads) - 4, len(heads))))
    say(f"in all {money(sum(line.total_nusd for line in found) / NUSD)}")


def month_ns(text: str) -> tuple[int, int]:
    """The first nanosecond of a month such as "2026-11" in UTC, and the first after it."""
    match = re.fullmatch(r"(\d{4})-(\d\d)", text)
    if match is None or not 1 <= int(match[2]) <= 12 or not 1970 <= int(match[1]) < 2200:
        raise BadInputError(f"{text!r} is no month.", "write it as 2026-11.")
    year, month = int(match[1]), int(match[2])
    begin, end = datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return int(begin.timestamp()) * NUSD, int(end.timestamp()) * NUSD


def _facts(split: Sequence[str], line: Line) -> dict[str, Any]:
    return dict(zip(split, line.of, strict=True)) | {
        "requests": line.requests,
        "in_units": line.fed,
        "out_units": line.made,
        "compute_s": line.compute_s,
        "joule": line.joule,
        "usage_nusd": line.usage_nusd,
        "corrected_nusd": line.corrected_nusd,
        "idle_nusd": line.idle_nusd,
        "total_nusd": line.total_nusd,
    }
