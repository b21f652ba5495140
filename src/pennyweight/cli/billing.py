"""`pennyweight tariff` and `pennyweight bill`: what requests cost, told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.cli.invoicing import nusd_of, shares_of, tell_exported
from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.serve.money.tariffs import NUSD
from pennyweight.store.team import registry
from pennyweight.store.team.bills import Line, idle_lines, lines
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.periods import month as month_of
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
    span = month_of(asked.month) if asked.month else (0, _EVER)
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
        say_json([line.facts(split) for line in found])
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
