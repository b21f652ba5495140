"""A request while a version is on trial: which version answers it, and what both versions' answers add up to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.serve.refused import RefusedError
from pennyweight.serve.watch.monitor import noted
from pennyweight.store.team.rollouts import MILLION
from pennyweight.store.team.tallies import Tally
from pennyweight.store.team.usage import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.serve.answering.lane import Answer
    from pennyweight.serve.answering.shelf import Served, Trial
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.wire.oip import Ask
    from pennyweight.store.team.rollouts import Rollout
    from pennyweight.store.team.tenants import Caller

_MOST_COPIES = 1024  # rows that wait for a version whose answers nobody sees; what comes then is not copied
_MOST_SAID = 10_000  # answers that wait to be kept; labels of what comes then join nothing
_MODEL_FAILED = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: who asks, what, and the `token` that draws its lot."""

    caller: Caller
    ask: Ask
    token: str


@final
@dataclass(slots=True, eq=False)
class Referee:
    """Answers requests of models that have a version on trial, and keeps the score."""

    teller: Teller
    _copies: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def answer(self, asked: Asked, served: Served, trial: Trial) -> tuple[Served, Answer]:
        """The answer and whose it is; where the version on trial fails, the other one answers.

        Raises `RefusedError` as the teller does.
        """
        lot = asked.caller.key if trial.rollout.sticky and asked.caller.key else asked.token
        if drawn(trial.rollout, lot):
            try:
                return trial.served, await self._watched(asked, trial.served, trial)
            except RefusedError as error:
                if error.status != _MODEL_FAILED:
                    raise
                return served, await self.teller.answer(asked.caller, served, asked.ask)
        answer = await self._watched(asked, served, trial)
        if trial.rollout.shadow and trial.served.lane.waiting < _MOST_COPIES:
            copy = asyncio.create_task(self._copied(asked, answer, trial))
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)
        return served, answer

    async def _watched(self, asked: Asked, served: Served, trial: Trial) -> Answer:
        begin_ns = time.perf_counter_ns()
        try:
            answer = await self.teller.answer(asked.caller, served, asked.ask)
        except RefusedError as error:
            if error.status == _MODEL_FAILED:
                self._note(trial.rollout, served, Tally(1, 1, _us(begin_ns)))
            raise
        self._note(trial.rollout, served, _tally(served, answer, begin_ns))
        if len(trial.said) < _MOST_SAID:
            trial.said.extend(noted(served.version, answer.request, time.time_ns(), answer.rows))
        return answer

    async def _copied(self, asked: Asked, told: Answer, trial: Trial) -> None:
        """Put a copy to the version on trial; it is charged to nobody."""
        begin_ns = time.perf_counter_ns()
        try:
            answer = await trial.served.lane.ask(asked.ask.rows)
        except RefusedError as error:
            if error.status == _MODEL_FAILED:
                self._note(trial.rollout, trial.served, Tally(1, 1, _us(begin_ns)))
            return
        rows = len(told.rows)
        both = Tally(compared=rows, agreed=agreeing(told.rows, answer.rows))
        self._note(trial.rollout, trial.served, _tally(trial.served, answer, begin_ns) + both)

    def _note(self, rollout: Rollout, served: Served, seen: Tally) -> None:
        self.teller.book.note(rollout.id, served.version.number, seen)


def drawn(rollout: Rollout, lot: str) -> bool:
    """Whether the version on trial answers: the same for the same lot, independent of other trials."""
    mark = blake2b(f"{rollout.id}:{lot}".encode(), digest_size=8).digest()
    return int.from_bytes(mark, "big") % MILLION < rollout.share_ppm


def agreeing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """In how many rows two answers (B, …) agree: name the same class, or values within 1% of each other."""
    if a.shape != b.shape:
        return 0
    if a.ndim == 2 and a.shape[1] > 1:
        return int((a.argmax(axis=1) == b.argmax(axis=1)).sum())
    close = np.isclose(a, b, rtol=1e-2, atol=1e-4)
    return int(close.reshape(len(a), -1).all(axis=1).sum())


def _tally(served: Served, answer: Answer, begin_ns: int) -> Tally:
    us, rows = answer.compute_ns // 1000, len(answer.rows)
    cost = served.price.of(Units(rows, rows, compute_ns=answer.compute_ns))
    return Tally(1, 0, _us(begin_ns), us, float(us) ** 2, cost)


def _us(begin_ns: int) -> int:
    return (time.perf_counter_ns() - begin_ns) // 1000
