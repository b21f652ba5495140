"""`pennyweight switch`, `rollback`, `rollouts` and `servers`, told."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.serve.versions.registering import who
from pennyweight.serve.versions.switching import Reached, Switch, attempt, back, switch
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Move
from pennyweight.store.team.rollouts import MILLION, Rollout
from pennyweight.store.team.rollouts import rollouts as all_rollouts
from pennyweight.store.team.tallies import Tally, tallies
from pennyweight.store.team.workers import live
from pennyweight.units import parse_seconds, parse_share, percent, seconds

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pennyweight.store.team.workers import Serving

_S = 1_000_000_000
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Wish:
    """A switch as it was asked for."""

    asked: str
    alias: str
    why: str
    wait: str
    canary: str = ""
    lasts: str = "10m"
    shadow: bool = False
    sticky: bool = False
    uncertified: bool = False

    @property
    def switch(self) -> Switch:
        """What is to be moved."""
        return Switch(self.asked, self.alias, Move(who(), self.why), self.uncertified, parse_seconds(self.wait))


def tell_switch(wish: Wish, store: str, *, json: bool) -> None:
    """Switch, or begin a trial."""
    if wish.sticky and not wish.canary:
        raise BadInputError("Without a canary there is no share to stick to.", "add --canary 5%.")
    with opened(store) as engine:
        if wish.canary or wish.shadow:
            reached = attempt(engine, wish.switch, _trial(engine, wish))
        else:
            reached = switch(engine, wish.switch)
    _tell(reached, wish, json=json)


def tell_rollback(wish: Wish, store: str, *, json: bool) -> None:
    """Go back."""
    with opened(store) as engine:
        reached = back(engine, wish.switch)
    _tell(reached, wish, json=json)


def tell_rollouts(model: str, store: str, *, json: bool) -> None:
    """List trials with what both versions did."""
    with opened(store) as engine, reading(engine) as link:
        found = [(each, tallies(link, each)) for each in all_rollouts(link, model)]
    if json:
        say_json(
            [asdict(each) | {"tallies": {str(n): asdict(sums) for n, sums in seen.items()}} for each, seen in found]
        )
        return
    if not found:
        say("Nothing was tried yet: pennyweight switch digits@4 --canary 5%")
        return
    rows = [row for each, seen in found for row in _rows(each, seen)]
    heads = ("trial", "version", "share", "requests", "errors", "latency", "compute", "agreed", "end")
    say_table("Trials", heads, rows, (3, 4, 5, 6, 7))


def tell_servers(store: str, *, json: bool) -> None:
    """List the processes that live."""
    with opened(store) as engine, reading(engine) as link:
        found = live(link)
    if json:
        say_json([asdict(each) for each in found])
        return
    if not found:
        say("Nothing serves: pennyweight serve digits")
        return
    rows = [
        (str(worker.pid), worker.host, worker.address, each.asked, str(each.number), _note(each))
        for worker in found
        for each in worker.serves
    ]
    say_table("Servers", ("process", "host", "address", "serves", "version", "note"), rows)


def _trial(engine: Engine, wish: Wish) -> Rollout:
    share = parse_share(wish.canary) if wish.canary else 0.0
    lasts_s = parse_seconds(wish.lasts)
    if not 0 <= share <= 1 or lasts_s <= 0:
        raise BadInputError(f"A canary of {wish.canary} for {wish.lasts} cannot be.", "write --canary 5% --for 10m.")
    with reading(engine) as link:
        version = registry.get(link, wish.asked)
    until_ns = time.time_ns() + int(lasts_s * _S)
    ppm = round(share * MILLION)
    return Rollout(
        version.model, wish.alias, version.number, ppm, wish.shadow, until_ns, who(), wish.sticky, why=wish.why
    )


def _tell(reached: Reached, wish: Wish, *, json: bool) -> None:
    event, trial = reached.event, reached.trial
    if json:
        moved = {"event": _facts(event), "trial": trial and asdict(trial)}
        say_json({"processes": reached.processes, "took_s": reached.took_s, **moved})
        return
    said = _sentence(reached, wish)
    if not reached.processes:
        say(f"{said}. No server is running; whoever starts one begins with that.")
        return
    many = "1 process follows" if reached.processes == 1 else f"{reached.processes} processes follow"
    say(f"{said}; {many}, after {seconds(reached.took_s)}.")


def _sentence(reached: Reached, wish: Wish) -> str:
    event, trial = reached.event, reached.trial
    if event is not None:
        was = f", before it was version {event.before}" if event.before not in {0, event.number} else ""
        return f"{event.model}@{event.alias} is version {event.number}{was}"
    if trial is None:
        return f"{wish.asked} stays"
    if wish.asked == trial.model:
        return f"{trial} is on trial no more; {trial.model}@{trial.alias} stays version {trial.before}"
    parts = [f"answers {percent(trial.share_ppm / MILLION)} of the requests"] if trial.share_ppm else []
    parts += ["is asked copies"] if trial.shadow else []
    return f"{trial} {' and '.join(parts)} for {wish.lasts}"


def _rows(trial: Rollout, seen: dict[int, Tally]) -> list[tuple[str, ...]]:
    share = percent(trial.share_ppm / MILLION) + (" + copies" if trial.shadow else "")
    ends = f"{trial.verdict}: {trial.why}" if trial.verdict else "goes on"
    none = Tally()
    return [
        (str(trial.id), str(trial), share, *_sums(seen.get(trial.number, none)), ends),
        ("", f"{trial.model}@{trial.before}", "", *_sums(seen.get(trial.before, none)), ""),
    ]


def _sums(seen: Tally) -> tuple[str, ...]:
    fine = seen.requests - seen.errors
    each = (seconds(seen.latency_us / fine / 1e6), seconds(seen.compute_us / fine / 1e6)) if fine else ("", "")
    agreed = percent(seen.agreed / seen.compared) if seen.compared else ""
    return (f"{seen.requests:,}", f"{seen.errors:,}", *each, agreed)


def _note(each: Serving) -> str:
    if each.why:
        return each.why
    return f"version {each.candidate} on trial" if each.rollout else ""


def _facts(event: registry.Event | None) -> dict[str, Any] | None:
    return asdict(event) if event else None
