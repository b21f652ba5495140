"""`pennyweight registry`: versions and aliases, told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import starmap
from typing import TYPE_CHECKING, Any

from pennyweight.catalog import load_prices
from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.serve.money.tariffs import ensure
from pennyweight.serve.versions.checkpoints import Way
from pennyweight.serve.versions.registering import kept, who
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Move

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.store.team.registry import Event, Version


@dataclass(frozen=True)
class Added:
    """What to register: a folder, under a name; kept at a URL, run in a way, where these are given."""

    folder: Path
    name: str
    url: str = ""
    runtime: str = ""
    precision: str = ""


def tell_added(asked: Added, store: str, *, json: bool) -> None:
    """Register an artifact, and say so."""
    added = add(asked, store)
    if json:
        say_json(_facts(added, ()))
    else:
        say(f"{added} is {added.digest[:12]}. Promote it: pennyweight registry promote {added}")


def add(asked: Added, store: str) -> Version:
    """Register an artifact, and let its requests cost what they take if they have no price."""
    found = kept(asked.folder, asked.name, asked.url, Way(asked.runtime, asked.precision))  # minutes, without the store
    with opened(store) as engine, engine.begin() as link:
        added = registry.add(link, found)
        ensure(link, asked.name, load_prices())
    return added


def tell_promoted(asked: str, alias: str, why: str, store: str, *, json: bool) -> None:
    """Move an alias."""
    with opened(store) as engine, engine.begin() as link:
        _tell_event(registry.promote(link, asked, alias, Move(who(), why)), json=json)


def tell_rolled_back(model: str, alias: str, why: str, store: str, *, json: bool) -> None:
    """Move an alias back."""
    with opened(store) as engine, engine.begin() as link:
        _tell_event(registry.rollback(link, model, alias, Move(who(), why)), json=json)


def tell_retired(asked: str, why: str, store: str, *, json: bool) -> None:
    """Retire a version."""
    with opened(store) as engine, engine.begin() as link:
        _tell_event(registry.retire(link, asked, Move(who(), why)), json=json)


def tell_versions(store: str, *, json: bool) -> None:
    """List versions with their aliases."""
    with opened(store) as engine, reading(engine) as link:
        found = registry.versions(link)
        stands = {model: registry.aliases(link, model) for model in {each.model for each in found}}
    rows = [(each, tuple(alias for alias, n in stands[each.model].items() if n == each.number)) for each in found]
    if json:
        say_json(list(starmap(_facts, rows)))
        return
    if not rows:
        say("There are no versions yet: pennyweight registry add winner.pw --name digits")
        return
    say_table(
        "Versions",
        ("version", "aliases", "content", "guarantee", "added", "by"),
        [
            (str(each), ", ".join(aliases), each.digest[:12], _guarantee(each), _when(each.made_ns), each.made_by)
            for each, aliases in rows
        ],
    )


def tell_history(model: str, store: str, *, json: bool) -> None:
    """Tell a model's events, oldest first."""
    with opened(store) as engine, reading(engine) as link:
        events = registry.history(link, model)
        if not events:
            registry.get(link, model)
    if json:
        say_json([_told(each) for each in events])
        return
    rows = [(_when(each.at_ns), each.who, _sentence(each), each.why) for each in events]
    say_table(f"What was done to {model}", ("when", "who", "what", "why"), rows)


def _tell_event(event: Event, *, json: bool) -> None:
    if json:
        say_json(_told(event))
    else:
        say(_sentence(event))


def _sentence(event: Event) -> str:
    if not event.alias:
        return f"{event.model}@{event.number} {_SAID[event.kind]}"
    was = f", before it was version {event.before}" if event.before else ""
    return f"{event.model}@{event.alias} is version {event.number}{was}"


_SAID = {
    "add": "was added",
    "retire": "was retired",
    "refuse": "was refused by a server",
    "allow": "may be served without a certificate",
    "try": "is on trial",
    "keep": "has passed its trial",
    "reject": "was taken back from its trial",
    "stop": "was tried long enough",
}


def _told(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in type(event).__slots__}


def _facts(version: Version, aliases: tuple[str, ...]) -> dict[str, Any]:
    return {
        "model": version.model,
        "number": version.number,
        "digest": version.digest,
        "place": version.place,
        "lineage": dict(version.lineage),
        "certificate": None if version.certificate is None else dict(version.certificate),
        "made_ns": version.made_ns,
        "made_by": version.made_by,
        "aliases": list(aliases),
    }


def _guarantee(version: Version) -> str:
    return str(version.certificate.get("text", "yes")) if version.certificate else "none"


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
