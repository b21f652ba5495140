"""Whether a version on trial is promoted, rolled back, or waited for: rules that hold however often one looks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pennyweight.errors import PennyweightError
from pennyweight.serve.watch.judging import Tolerance
from pennyweight.serve.watch.judging import judged as summed
from pennyweight.serve.watch.sequential import Terms
from pennyweight.store.team import alerts, registry, rollouts
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.registry import Move
from pennyweight.store.team.rollouts import MILLION
from pennyweight.store.team.tallies import Tally, tallies

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pennyweight.store.team.rollouts import Rollout, Verdict

Choice = Literal["promote", "rollback", "wait"]
ALPHA = 0.05
LEAST = 30
"""Answers of a version without which nothing can be said for it."""

_EARLY = 0.01  # of ALPHA, for failures, of which a handful is enough; the rest is for sums over many requests
_WORSE = (1.25, 1.5, 2.0, 4.0, 8.0)  # times as many failures that are bet on, in equal parts


@dataclass(frozen=True, slots=True)
class Sums:
    """What a trial has come to: the share of requests that went to the candidate (0: copies only), and both sums."""

    share: float
    control: Tally
    candidate: Tally
    over: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do, and why in half a sentence."""

    choice: Choice
    why: str


def verdict(seen: Sums) -> Choice:
    """What to do with a candidate; see `judged`."""
    return judged(seen).choice


def judged(seen: Sums) -> Judgement:
    """Roll back as soon as the candidate is shown to be worse, promote when the time is over and it was not.

    Whenever and however often this is asked, the chance that one that is no worse is rolled back before its time is
    over is at most `ALPHA`: few failures are judged by `arms`, many requests by their sums (`watch.judging`). Compute
    is told, not judged: the few requests of a candidate come in smaller batches, and would look dearer than they are.
    The time that a token takes is judged where texts are continued: in smaller batches it is less.
    """
    if arms(seen.control.errors, seen.candidate.errors, seen.share or 0.5) >= math.log(1 / _EARLY):
        return Judgement("rollback", "it fails more often")
    terms = Terms(alpha=ALPHA - _EARLY, most=int(seen.over))
    quiet = [replace(each, compute_us=0) for each in (seen.candidate, seen.control)]
    found = summed(quiet[0], quiet[1], Tolerance(terms=terms))
    if found.choice == "rollback":
        return Judgement("rollback", found.why)
    if not seen.over:
        return Judgement("wait", "the time is not over")
    if seen.candidate.requests < LEAST:
        return Judgement("rollback", f"it was asked {seen.candidate.requests} times, too few to judge by")
    return Judgement("promote", f"in {seen.candidate.requests} requests it was not worse")


def arms(control: float, candidate: float, share: float) -> float:
    """The log of the evidence that more of the failures are the candidate's than its share of the requests explains.

    If both fail alike, each failure is the candidate's with chance `share`, whatever came before; so the capital of
    one who bets on any other chance is a martingale, and so is a mixture of them.
    """
    logs = []
    for times in _WORSE:
        chance = times * share / (times * share + 1 - share)
        won = candidate * math.log(chance / share)
        logs.append(won + (control * math.log((1 - chance) / (1 - share)) if share < 1 else 0.0))
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


def settle(link: Connection, trial: Rollout, who: str) -> None:
    """Look at a trial and end it if it is decided; of several processes that do so one does, and says so."""
    if trial.ended_ns:
        return
    if registry.pointed(link, trial.model, trial.alias) != trial.before:
        _end(link, trial, "stop", Move(who, "the alias was moved meanwhile"))
        return
    sums, none = tallies(link, trial), Tally()
    over = time.time_ns() >= trial.until_ns
    seen = Sums(trial.share_ppm / MILLION, sums.get(trial.before, none), sums.get(trial.number, none))
    found = judged(replace(seen, over=over and trial.share_ppm > 0))
    if found.choice != "wait":
        _end(link, trial, found.choice, Move(who, found.why))
    elif over:  # of one that answered nobody
        _end(link, trial, "stop", Move(who, _agreement(seen.candidate)))


def _end(link: Connection, trial: Rollout, verdict: Verdict, move: Move) -> None:
    with link.begin_nested() as part:
        try:
            ended = rollouts.end(link, trial, verdict, move)
        except PennyweightError as error:  # it was retired meanwhile
            part.rollback()
            verdict, move = "rollback", Move(move.who, error.problem)
            ended = rollouts.end(link, trial, verdict, move)
    if ended:
        alerts.add(link, Alert(trial.model, trial.number, "canary", f"{trial}: {verdict}, for {move.why}", 0.0))


def _agreement(seen: Tally) -> str:
    if not seen.compared:
        return "the time is over; nothing was compared"
    return f"the time is over; it agreed in {seen.agreed / seen.compared:.2%} of {seen.compared} answers"
