"""What the names that a process serves stand for at this moment, read from the store in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import PennyweightError
from pennyweight.store.team import registry, rollouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from pennyweight.serve.answering.shelf import Served
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.rollouts import Rollout
    from pennyweight.store.team.usage import Price


@dataclass(frozen=True, slots=True)
class Goal:
    """What should answer under a name: a version, by the event `moved`, and perhaps another one on trial.

    `bare` are the numbers that may be served without a certificate.
    """

    name: str
    version: Version
    moved: int = 0
    rollout: Rollout | None = None
    candidate: Version | None = None
    bare: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: a model by an alias, or by a number (then `alias` is "")."""

    asked: str
    model: str
    alias: str

    @classmethod
    def of(cls, asked: str) -> Wish:
        """Read "digits", "digits@staging" or "digits@3"."""
        model, _, which = asked.partition("@")
        return cls(asked, model, "" if which.isdecimal() else which or registry.PRODUCTION)


def names(models: Sequence[str]) -> dict[str, Wish]:
    """Under which name each is served: its model's alone, unless several versions of that model are asked for."""
    wishes = [Wish.of(each) for each in dict.fromkeys(models)]
    count = [each.model for each in wishes]
    return {each.model if count.count(each.model) == 1 else each.asked: each for each in wishes}


def earlier(link: Connection, wish: Wish) -> tuple[Version, ...]:
    """What is asked for and, for an alias, what it stood for before; raises `UnknownNameError` if there is nothing."""
    now = registry.get(link, wish.asked)
    if not wish.alias:
        return (now,)
    return tuple(
        registry.get(link, f"{wish.model}@{number}") for number in registry.stood(link, wish.model, wish.alias)
    )


def first(versions: Sequence[Version], price: Price, load: Callable[[Version, Price], Served]) -> Served:
    """The first of some versions that can be loaded and proved; raises what the first one did if none can.

    So a server begins even while an alias stands for a version that no server takes.
    """
    errors: list[PennyweightError] = []
    for each in versions:
        try:
            return load(each, price)
        except PennyweightError as error:
            errors.append(error)
    raise errors[0]


def goals(link: Connection, wanted: Mapping[str, Wish]) -> tuple[Goal, ...]:
    """What each name stands for; an alias that stands for nothing is left out, for what is served then stays."""
    found = (_goal(link, name, wish) for name, wish in wanted.items())
    return tuple(each for each in found if each is not None)


def _goal(link: Connection, name: str, wish: Wish) -> Goal | None:
    if not wish.alias:
        return Goal(name, registry.get(link, wish.asked))
    number, moved = registry.stand(link, wish.model, wish.alias)
    if not number:
        return None
    goal = Goal(name, registry.get(link, f"{wish.model}@{number}"), moved, bare=registry.allowed(link, wish.model))
    trial = next(iter(rollouts.ongoing(link, wish.model, wish.alias)), None)
    if trial is None:
        return goal
    return Goal(name, goal.version, moved, trial, registry.get(link, str(trial)), goal.bare)
