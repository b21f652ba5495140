"""The page of the registry: versions, the aliases that stand for them, who moved those, and moving them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
from pennyweight.store.team import registry
from pennyweight.store.team.registry import Move
from pennyweight.store.team.rollouts import ongoing
from pennyweight.web.overview import trial_facts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pennyweight.store.team.registry import Event, Version
    from pennyweight.web.books import Books, Query

_HISTORY = 30
_WHY = 500


def registry_facts(books: Books, query: Query) -> dict[str, Any]:
    """All models, or only `model`, with their versions and the newest of what was done to them."""
    wanted = query.get("model", "")
    with books.reading() as link:
        found = registry.versions(link, wanted)
        if wanted and not found:
            registry.get(link, wanted)
        models = dict.fromkeys(each.model for each in found)
        return {
            "model": wanted,
            "models": [_model(link, name, [each for each in found if each.model == name]) for name in models],
            "trials": [trial_facts(each) for each in ongoing(link, wanted)],
        }


def _model(link: Connection, name: str, versions: list[Version]) -> dict[str, Any]:
    stands, gone, events = registry.aliases(link, name), registry.retired(link, name), registry.history(link, name)
    return {
        "name": name,
        "aliases": stands,
        "back": {alias: registry.earlier(link, name, alias) for alias in stands},
        "versions": [
            {
                "number": each.number,
                "digest": each.digest,
                "lineage": dict(each.lineage),
                "certificate": None if each.certificate is None else dict(each.certificate),
                "made_ns": each.made_ns,
                "made_by": each.made_by,
                "aliases": [alias for alias, number in stands.items() if number == each.number],
                "retired": each.number in gone,
            }
            for each in reversed(versions)
        ],
        "history": [_event(each) for each in reversed(events[-_HISTORY:])],
    }


def _event(of: Event) -> dict[str, Any]:
    return asdict(of)


def asked_move(books: Books, query: Query) -> dict[str, Any]:
    """What moving an alias would do, for a person to agree to: nothing is done yet.

    `version` ("digits@3") is what `to` shall stand for; without a version, `model` is to go back to what it was.
    Raises `UnknownNameError` for what is not there.
    """
    alias = query.get("to", registry.PRODUCTION)
    with books.reading() as link:
        if "version" in query:
            found = registry.get(link, query["version"])
            model, number = found.model, found.number
        else:
            model = query.get("model", "")
            registry.get(link, f"{model}@{alias}")
            number = registry.earlier(link, model, alias)
        before = registry.pointed(link, model, alias)
    return {
        "does": "promote" if "version" in query else "rollback",
        "model": model,
        "alias": alias,
        "number": number,
        "before": before,
    }


def move(books: Books, form: Query, who: str) -> Event:
    """Move an alias as `asked_move` told: promote, or roll back; what the commands of these names do.

    Raises `BadInputError`, and nothing is moved, if meanwhile the alias stands for something else.
    """
    model, alias, told = form.get("model", ""), form.get("to", ""), Move(who, form.get("why", "")[:_WHY])
    with books.changing() as link:
        if form.get("does") == "rollback":
            made = registry.rollback(link, model, alias, told)
        else:
            made = registry.promote(link, f"{model}@{form.get('number', '')}", alias, told)
        if (str(made.number), str(made.before)) != (form.get("number"), form.get("before")):
            raise BadInputError(f"{model}@{alias} was moved by somebody else meanwhile.", "look at the registry again.")
    return made
