"""Trials of a version beside the one that is served: who began them, how far they go, and how they ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import insert, select, update

from pennyweight.errors import BadInputError
from pennyweight.store.team import registry
from pennyweight.store.team.registry import Move
from pennyweight.store.team.tables import rollout

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

Verdict = Literal["", "promote", "rollback", "stop"]
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Rollout:
    """Version `number` on trial against `before` until `until_ns`.

    It answers `share_ppm` millionths of the requests, of each caller's if `sticky`; if `shadow`, copies of the others
    are put to it and nobody sees its answers. `verdict` is "" while the trial goes on.
    """

    model: str
    alias: str
    number: int
    share_ppm: int
    shadow: bool
    until_ns: int
    who: str
    sticky: bool = False
    before: int = 0
    began_ns: int = 0
    ended_ns: int = 0
    verdict: Verdict = ""
    why: str = ""
    id: int = 0

    def __str__(self) -> str:
        return f"{self.model}@{self.number}"


def begin(link: Connection, wanted: Rollout) -> Rollout:
    """Begin a trial for an alias that stands for another version.

    Raises `BadInputError` if there is a trial already, if the alias stands for nothing or for that version, or if the
    version was retired.
    """
    registry.alone(link, wanted.model)
    before = registry.pointed(link, wanted.model, wanted.alias)
    there = ongoing(link, wanted.model, wanted.alias)
    if there:
        raise BadInputError(f"{there[0]} is on trial already.", f"end that first: pennyweight rollback {wanted.model}")
    if before in {0, wanted.number}:
        stands = "for that version already" if before else "for no version yet"
        raise BadInputError(
            f"{wanted.model}@{wanted.alias} stands {stands}, so there is nothing to compare {wanted} with.",
            f"switch without a trial: pennyweight switch {wanted}",
        )
    if wanted.number in registry.retired(link, wanted.model):
        raise BadInputError(f"{wanted} was retired.", "try another version.")
    facts = _facts(wanted) | {"before": before, "began_ns": time.time_ns()}
    id_ = link.execute(insert(rollout).returning(rollout.c.id), facts).scalar_one()
    registry.remark(link, registry.Remark(wanted.model, "try", wanted.number, before), Move(wanted.who, wanted.why))
    return get(link, id_)


def end(link: Connection, trial: Rollout, verdict: Verdict, move: Move) -> bool:
    """End a trial and do what the verdict says; whether this call did, and not another process before it."""
    facts = {"verdict": verdict, "ended_ns": time.time_ns(), "why": move.why}
    here = (rollout.c.id == trial.id) & (rollout.c.ended_ns == 0)
    if not link.execute(update(rollout).where(here).values(facts)).rowcount:
        return False
    kind = {"promote": "keep", "rollback": "reject"}.get(verdict, "stop")
    registry.remark(link, registry.Remark(trial.model, kind, trial.number, trial.before), move)
    if verdict == "promote":
        registry.promote(link, str(trial), trial.alias, move)
    return True


def get(link: Connection, id_: int) -> Rollout:
    """The trial of that number."""
    return _rollout(link.execute(select(rollout).where(rollout.c.id == id_)).one())


def ongoing(link: Connection, model: str = "", alias: str = "") -> tuple[Rollout, ...]:
    """The trials that go on: all, those of a model, or that of an alias."""
    asked = select(rollout).where(rollout.c.ended_ns == 0).order_by(rollout.c.id)
    asked = asked.where(rollout.c.model == model) if model else asked
    return tuple(_rollout(row) for row in link.execute(asked.where(rollout.c.alias == alias) if alias else asked))


def rollouts(link: Connection, model: str = "") -> tuple[Rollout, ...]:
    """All trials there ever were, or those of a model, oldest first."""
    asked = select(rollout).order_by(rollout.c.id)
    return tuple(_rollout(row) for row in link.execute(asked.where(rollout.c.model == model) if model else asked))


def _facts(of: Rollout) -> dict[str, Any]:
    facts = {each.name: getattr(of, each.name) for each in fields(of) if each.name != "id"}
    return facts | {"shadow": int(of.shadow), "sticky": int(of.sticky)}


def _rollout(row: Row[Any]) -> Rollout:
    facts = {each.name: getattr(row, each.name) for each in fields(Rollout)}
    return Rollout(**facts | {"shadow": bool(row.shadow), "sticky": bool(row.sticky)})
