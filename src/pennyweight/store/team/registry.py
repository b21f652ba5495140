"""Versions of models that never change, and aliases that do, with who moved them when and why."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.names import named
from pennyweight.store.team.tables import event, version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

PRODUCTION = "production"
_MOVES = ("promote", "rollback", "demote")


@dataclass(frozen=True)
class Version:
    """One content under a model's name: the `digest` of its artifact, the store that holds it, and where it is from."""

    model: str
    number: int
    digest: str
    place: str
    lineage: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    made_ns: int = 0
    made_by: str = ""

    def __str__(self) -> str:
        return f"{self.model}@{self.number}"


@dataclass(frozen=True, slots=True)
class Event:
    """What somebody did: an alias (or "") of a model went from version `before` to `number`, 0 for none."""

    at_ns: int
    who: str
    model: str
    kind: str
    alias: str
    number: int
    before: int
    why: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What is said in the history about a version and moves no alias; `before` is the version it is compared with.

    `kind` is refuse (a server would not serve it), allow (it may be served without a certificate), or try, keep,
    reject and stop of a trial.
    """

    model: str
    kind: str
    number: int
    before: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Who moves an alias, and why."""

    who: str
    why: str = ""


def add(link: Connection, wanted: Version) -> Version:
    """Give the next number to a content; what is there already keeps its number, and nothing is written."""
    named("model", wanted.model)
    alone(link, wanted.model)
    same = and_(version.c.model == wanted.model, version.c.digest == wanted.digest)
    there = link.execute(select(version).where(same)).one_or_none()
    if there is not None:
        return _version(there)
    number = (link.execute(select(func.max(version.c.number)).where(version.c.model == wanted.model)).scalar() or 0) + 1
    facts = {"model": wanted.model, "number": number, "digest": wanted.digest, "place": wanted.place}
    facts |= {
        "lineage": json.dumps(dict(wanted.lineage), sort_keys=True),
        "certificate": "" if wanted.certificate is None else json.dumps(dict(wanted.certificate), sort_keys=True),
        "made_ns": time.time_ns(),
        "made_by": wanted.made_by,
    }
    link.execute(insert(version), facts)
    _say(link, Event(0, wanted.made_by, wanted.model, "add", "", number, 0, ""))
    return get(link, f"{wanted.model}@{number}")


def get(link: Connection, asked: str) -> Version:
    """The version that "model@3", "model@alias" or "model" (its production) means.

    Raises `UnknownNameError` for a model, number or alias that there is none of, or that was retired.
    """
    model, _, which = asked.partition("@")
    which = which or PRODUCTION
    number = int(which) if which.isdecimal() and which.isascii() and len(which) < 10 else pointed(link, model, which)
    here = and_(version.c.model == model, version.c.number == number)
    row = link.execute(select(version).where(here)).one_or_none() if number else None
    if row is None:
        raise _unknown(link, model, which)
    return _version(row)


def pointed(link: Connection, model: str, alias: str = PRODUCTION) -> int:
    """The number that an alias stands for now, 0 if for none."""
    return stand(link, model, alias)[0]


def stand(link: Connection, model: str, alias: str = PRODUCTION) -> tuple[int, int]:
    """The number that an alias stands for now and the event that says so; (0, 0) if none."""
    moves = select(event.c.number, event.c.id).where(
        event.c.model == model, event.c.alias == alias, event.c.kind.in_(_MOVES)
    )
    row = link.execute(moves.order_by(event.c.id.desc()).limit(1)).one_or_none()
    return (row.number, row.id) if row else (0, 0)


def stood(link: Connection, model: str, alias: str = PRODUCTION) -> tuple[int, ...]:
    """What an alias has stood for, the present version first, each once and without those that were retired."""
    moves = [each for each in history(link, model) if each.alias == alias and each.kind in _MOVES]
    gone = retired(link, model)
    return tuple(dict.fromkeys(each.number for each in reversed(moves) if each.number and each.number not in gone))


def newest(link: Connection) -> int:
    """The number of the latest event of all models; it grows with everything that is done to any of them."""
    return link.execute(select(func.max(event.c.id))).scalar() or 0


def remark(link: Connection, what: Remark, move: Move) -> Event:
    """Add to the history what moves no alias."""
    return _say(link, Event(0, move.who, what.model, what.kind, "", what.number, what.before, move.why))


def allowed(link: Connection, model: str) -> frozenset[int]:
    """The numbers of the versions that may be served although they have no certificate."""
    asked = select(event.c.number).where(event.c.model == model, event.c.kind == "allow")
    return frozenset(link.execute(asked).scalars())


def promote(link: Connection, asked: str, alias: str, move: Move, kind: str = "promote") -> Event:
    """Let an alias stand for a version from now on; raises `BadInputError` for one that was retired."""
    named("alias", alias)
    if alias.isdecimal():
        raise BadInputError(f"An alias cannot be the number {alias}.", "choose a name, such as production.")
    alone(link, asked.partition("@")[0])
    wanted = get(link, asked)
    if wanted.number in retired(link, wanted.model):
        raise BadInputError(f"{wanted} was retired.", "promote another version, or add its artifact anew.")
    before = pointed(link, wanted.model, alias)
    return _say(link, Event(0, move.who, wanted.model, kind, alias, wanted.number, before, move.why))


def rollback(link: Connection, model: str, alias: str, move: Move) -> Event:
    """Let an alias stand for what it stood for before; raises `BadInputError` if there was nothing before."""
    back = earlier(link, model, alias)
    if not back:
        raise BadInputError(f"{model}@{alias} was nothing else before.", "promote the version that you want.")
    return promote(link, f"{model}@{back}", alias, move, "rollback")


def earlier(link: Connection, model: str, alias: str = PRODUCTION) -> int:
    """The number that `rollback` would go back to, 0 if there is none."""
    stood: list[int] = []
    for each in (each for each in history(link, model) if each.alias == alias):
        while each.kind == "rollback" and stood and stood[-1] != each.number:
            stood.pop()
        if each.kind != "rollback":
            stood.append(each.number)
    gone = retired(link, model) | {pointed(link, model, alias)}
    return next((number for number in reversed(stood) if number not in gone), 0)


def retire(link: Connection, asked: str, move: Move) -> Event:
    """Let a version be promoted no more; raises `BadInputError` while an alias stands for it."""
    wanted = get(link, asked)
    used = [alias for alias, number in aliases(link, wanted.model).items() if number == wanted.number]
    if used:
        raise BadInputError(f"{wanted} is {', '.join(used)} now.", "promote another version first.")
    return _say(link, Event(0, move.who, wanted.model, "retire", "", wanted.number, wanted.number, move.why))


def retired(link: Connection, model: str) -> frozenset[int]:
    """The numbers of the versions that were retired."""
    asked = select(event.c.number).where(event.c.model == model, event.c.kind == "retire")
    return frozenset(link.execute(asked).scalars())


def aliases(link: Connection, model: str) -> dict[str, int]:
    """What every alias of a model stands for now."""
    names = select(event.c.alias).where(event.c.model == model, event.c.kind.in_(_MOVES)).distinct()
    found = {alias: pointed(link, model, alias) for alias in link.execute(names).scalars()}
    return {alias: number for alias, number in sorted(found.items()) if number}


def versions(link: Connection, model: str = "") -> tuple[Version, ...]:
    """All versions, or those of one model, by name and number."""
    asked = select(version).order_by(version.c.model, version.c.number)
    return tuple(_version(row) for row in link.execute(asked.where(version.c.model == model) if model else asked))


def history(link: Connection, model: str) -> tuple[Event, ...]:
    """Everything that was done to a model's versions and aliases, oldest first."""
    rows = link.execute(select(event).where(event.c.model == model).order_by(event.c.id))
    return tuple(Event(*(getattr(row, name) for name in Event.__slots__)) for row in rows)


def alone(link: Connection, model: str) -> None:
    """Until the transaction ends nobody else changes that model; SQLite has one writer anyway."""
    if link.dialect.name == "postgresql":
        link.execute(select(func.pg_advisory_xact_lock(func.hashtext(model))))


def _say(link: Connection, what: Event) -> Event:
    facts = {name: getattr(what, name) for name in Event.__slots__} | {"at_ns": time.time_ns()}
    link.execute(insert(event), facts)
    return Event(**facts)


def _version(row: Row[Any]) -> Version:
    return Version(
        row.model,
        row.number,
        row.digest,
        row.place,
        json.loads(row.lineage),
        json.loads(row.certificate) if row.certificate else None,
        row.made_ns,
        row.made_by,
    )


def _unknown(link: Connection, model: str, which: str) -> UnknownNameError:
    known = versions(link, model)
    if not known:
        return UnknownNameError.of("model", model[:64], {each.model for each in versions(link)})
    names = [*(str(each.number) for each in known), *aliases(link, model)]
    return UnknownNameError.of(f"version of {model}", which[:64], names)
