"""`pennyweight tenants`: who may ask, for how much, told."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.serve.money.tariffs import NUSD
from pennyweight.store.team.budgets import Budget, put, states
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tenants import Tenant, add_key, add_tenant, close, keys, revoke, tenants
from pennyweight.units import money, parse_usd

if TYPE_CHECKING:
    from pennyweight.store.team.budgets import State
    from pennyweight.store.team.tenants import Role

_RATE = re.compile(r"(\d{1,7})(/s)?")


@dataclass(frozen=True)
class Wish:
    """A tenant as it was asked for."""

    name: str
    organisation: str
    budgets: tuple[str, ...]
    rate: str
    zone: str


def tell_added(wish: Wish, store: str, *, json: bool) -> None:
    """Add a tenant, its budgets and its first key; the key is shown this once."""
    wanted = [read_budget(each, "tenant", wish.name, wish.zone) for each in wish.budgets]
    with opened(store) as engine, engine.begin() as link:
        made = add_tenant(link, Tenant(wish.name, wish.organisation, wish.zone, _rate(wish.rate)))
        for each in wanted:
            put(link, each)
        shown = add_key(link, wish.name)
    if json:
        say_json({"tenant": made.name, "organisation": made.organisation, "key": shown})
    else:
        say(f"{made.name} may ask with this key, which is shown only now:\n{shown}")


def tell_key(name: str, role: str, store: str, *, json: bool) -> None:
    """Make a key."""
    with opened(store) as engine, engine.begin() as link:
        shown = add_key(link, name, _role(role))
    if json:
        say_json({"tenant": name, "role": role, "key": shown})
    else:
        say(f"{name} may ask with this key too, which is shown only now:\n{shown}")


def tell_revoked(key: str, store: str, *, json: bool) -> None:
    """Revoke a key."""
    with opened(store) as engine, engine.begin() as link:
        revoke(link, key)
    _done({"revoked": key}, f"{key} opens nothing any more.", json=json)


def tell_closed(name: str, store: str, *, json: bool) -> None:
    """Close a tenant."""
    with opened(store) as engine, engine.begin() as link:
        close(link, name)
    _done({"closed": name}, f"{name} may ask no more; its bills stay.", json=json)


def tell_budget(wanted: Budget, store: str, *, json: bool) -> None:
    """Set a budget."""
    with opened(store) as engine, engine.begin() as link:
        made = put(link, wanted)
    facts = {"level": made.level, "owner": made.owner, "period": made.period, "limit_nusd": made.limit_nusd}
    may = "may spend" if made.hard else "is warned about"
    _done(
        facts | {"hard": made.hard}, f"{made.owner} {may} {money(made.limit_nusd / NUSD)} per {made.period}.", json=json
    )


def tell_tenants(store: str, *, json: bool) -> None:
    """List tenants, keys and budgets."""
    with opened(store) as engine, reading(engine) as link:
        found, held = tenants(link), keys(link)
        stands = states(link, time.time_ns())
    if json:
        say_json(
            {
                "tenants": [{name: getattr(each, name) for name in type(each).__slots__} for each in found],
                "keys": [{"id": each.id, "tenant": each.tenant, "role": each.role} for each in held],
                "budgets": [_facts(each) for each in stands],
            }
        )
        return
    if not found:
        say("There are no tenants yet: pennyweight tenants add acme --budget 5usd/day")
        return
    rows = [
        (
            each.name if each.open else f"{each.name} (closed)",
            each.organisation,
            f"{each.rate_s}/s" if each.rate_s else "",
            ", ".join(f"{key.id} ({key.role})" for key in held if key.tenant == each.name),
        )
        for each in found
    ]
    say_table("Tenants", ("tenant", "organisation", "rate", "keys"), rows)
    if stands:
        heads = ("of", "per", "spent", "reserved", "limit", "")
        say_table("Budgets", heads, [_row(each) for each in stands], (2, 3, 4))


def read_budget(text: str, level: str, owner: str, zone: str, *, hard: bool = True) -> Budget:
    """Read "5usd/day"; raises `BadInputError` for anything that is no amount per period."""
    amount, _, period = text.partition("/")
    if period not in {"minute", "hour", "day", "month", "total"}:
        raise BadInputError(f"{text!r} is no budget.", "write 5usd/day: per minute, hour, day, month or total.")
    return Budget(level, owner, period, round(parse_usd(amount) * NUSD), hard, zone)  # type: ignore[arg-type]


def _rate(text: str) -> int:
    if not text:
        return 0
    match = _RATE.fullmatch(text)
    if match is None:
        raise BadInputError(f"{text!r} is no rate.", "write 100/s: whole requests per second.")
    return int(match[1])


def _role(text: str) -> Role:
    return text  # type: ignore[return-value]  # add_key refuses what is none


def _facts(stands: State) -> dict[str, object]:
    of = stands.budget
    return {
        "level": of.level,
        "owner": of.owner,
        "period": of.period,
        "limit_nusd": of.limit_nusd,
        "hard": of.hard,
        "warning": stands.warning,
        "spent_nusd": stands.spent_nusd,
        "reserved_nusd": stands.reserved_nusd,
        "end_ns": stands.end_ns,
    }


def _row(stands: State) -> tuple[str, ...]:
    of = stands.budget
    spent, reserved, limit = (money(each / NUSD) for each in (stands.spent_nusd, stands.reserved_nusd, of.limit_nusd))
    limit = limit if of.hard else f"{limit} (soft)"
    return f"{of.level} {of.owner}", of.period, spent, reserved, limit, stands.warning


def _done(facts: dict[str, object], text: str, *, json: bool) -> None:
    if json:
        say_json(facts)
    else:
        say(text)
