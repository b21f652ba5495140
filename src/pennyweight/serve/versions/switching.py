"""Moving an alias and waiting until every process that serves it has followed: the switch, a trial, the way back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, CorruptError, PennyweightError
from pennyweight.store.team import registry, rollouts, workers
from pennyweight.store.team.opened import reading
from pennyweight.store.team.registry import Move, Remark

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from pennyweight.store.team.registry import Event
    from pennyweight.store.team.rollouts import Rollout
    from pennyweight.store.team.workers import Serving

_LOOK_S = 0.05


@dataclass(frozen=True)
class Switch:
    """Who lets an alias of a model stand for what ("digits@4"; only "digits" for the way back), and how."""

    asked: str
    alias: str
    move: Move
    uncertified: bool = False
    wait_s: float = 60.0

    @property
    def model(self) -> str:
        """The model's name."""
        return self.asked.partition("@")[0]


@dataclass(frozen=True)
class Reached:
    """How many processes serve it now, after so many seconds, and what was moved: an alias, or a version on trial."""

    processes: int
    took_s: float
    event: Event | None = None
    trial: Rollout | None = None


def switch(engine: Engine, wanted: Switch) -> Reached:
    """Let an alias stand for a version, and return when every process serves it.

    A version on trial is promoted thereby. Raises `CorruptError` if a process will not serve it: then the alias is
    moved back; `PennyweightError` if it takes longer than `wait_s`.
    """
    with engine.begin() as link:
        event = _moved(link, wanted)
        _, moved = registry.stand(link, wanted.model, wanted.alias)
    try:
        return _reached(engine, wanted, lambda each: _followed(each, moved), event)
    except CorruptError as error:
        if event.before in {0, event.number}:
            raise
        with engine.begin() as link:
            if registry.stand(link, wanted.model, wanted.alias)[1] == moved:
                registry.rollback(link, wanted.model, wanted.alias, Move(wanted.move.who, error.problem))
        said = f"{error.problem} {wanted.model}@{wanted.alias} is version {event.before} again."
        raise CorruptError(said, error.fix) from error


def attempt(engine: Engine, wanted: Switch, trial: Rollout) -> Reached:
    """Begin a trial, and return when every process takes part in it.

    Raises `CorruptError` if a process will not serve the version, and then the trial is over.
    """
    with engine.begin() as link:
        _allow(link, wanted, trial.number)
        made = rollouts.begin(link, trial)
    return _reached(engine, wanted, lambda each: _takes_part(engine, each, made), made)


def back(engine: Engine, wanted: Switch) -> Reached:
    """End the trial that goes on or, if there is none, let the alias stand for what it stood for before; then wait."""
    with engine.begin() as link:
        trial = next(iter(rollouts.ongoing(link, wanted.model, wanted.alias)), None)
        if trial is not None:
            rollouts.end(link, trial, "rollback", wanted.move)
        event = None if trial else registry.rollback(link, wanted.model, wanted.alias, wanted.move)
        _, moved = registry.stand(link, wanted.model, wanted.alias)
    if trial is not None:
        return _reached(engine, wanted, lambda each: each.rollout != trial.id, trial)
    return _reached(engine, wanted, lambda each: _followed(each, moved), event)


def _moved(link: Connection, wanted: Switch) -> Event:
    version = registry.get(link, wanted.asked)
    trial = next(iter(rollouts.ongoing(link, wanted.model, wanted.alias)), None)
    _allow(link, wanted, version.number)
    if trial is None:
        return registry.promote(link, str(version), wanted.alias, wanted.move)
    if trial.number != version.number:
        raise BadInputError(f"{trial} is on trial.", f"end that first: pennyweight rollback {wanted.model}")
    rollouts.end(link, trial, "promote", wanted.move)
    return registry.history(link, wanted.model)[-1]


def _allow(link: Connection, wanted: Switch, number: int) -> None:
    if wanted.uncertified:
        registry.remark(link, Remark(wanted.model, "allow", number), wanted.move)


def _reached(engine: Engine, wanted: Switch, done: Callable[[Serving], bool], what: Event | Rollout | None) -> Reached:
    """Wait until all that live are done; whoever comes later begins with what holds then."""
    begin_s = time.monotonic()
    while True:
        with reading(engine) as link:
            found = workers.live(link)
        here = [
            (worker, done(each))
            for worker in found
            for each in worker.serves
            if (each.model, each.alias) == (wanted.model, wanted.alias)
        ]
        late = sorted({worker.pid for worker, is_done in here if not is_done})
        took_s = time.monotonic() - begin_s
        if not late:
            count = len({worker.id for worker, _ in here})
            if isinstance(what, registry.Event):
                return Reached(count, took_s, event=what)
            return Reached(count, took_s, trial=what)
        if took_s > wanted.wait_s:
            raise PennyweightError(
                f"After {wanted.wait_s:g} s {len(late)} of {len(here)} processes have not followed "
                f"({', '.join(map(str, late))}).",
                "they may still do so; see pennyweight servers.",
            )
        time.sleep(_LOOK_S)


def _followed(each: Serving, moved: int) -> bool:
    if each.moved >= moved and each.why:
        raise CorruptError(each.why, "see pennyweight registry history, and switch to a version that can be served.")
    return each.moved >= moved


def _takes_part(engine: Engine, each: Serving, made: Rollout) -> bool:
    if each.rollout >= made.id:
        return True
    with reading(engine) as link:
        now = rollouts.get(link, made.id)
    if now.verdict == "rollback":
        raise CorruptError(f"{now} is not tried: {now.why}", "try a version that can be served.")
    return bool(now.verdict)
