"""One loaded version and the requests that wait for it: what arrives while it computes is its next batch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import PennyweightError
from pennyweight.serve.answering.pace import Pace
from pennyweight.serve.refused import RefusedError, bad

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.core import Session

INLINE_S = 1.5e-3  # what takes less is computed where requests are read: handing it to a thread would cost more
_NS = 1_000_000_000
_SIZES = 12


@dataclass(frozen=True, slots=True)
class Terms:
    """How requests are taken: rows of one at most, seconds that a batch should take, seconds to wait in all.

    A batch that takes less than `inline_s` is computed where requests are read. It begins `wait_s` after the first of
    its requests came, or when there are `gather` rows, and has no more of them (0: as many as fit into the target).
    """

    most_rows: int = 256
    target_s: float = 0.005
    patience_s: float = 10.0
    inline_s: float = INLINE_S
    wait_s: float = 0.0
    gather: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to one request, and its share of the nanoseconds that the batch took.

    `request` is the name under which it is recorded, "" while it is not; a `kept` answer was computed before.
    """

    rows: NDArray[Any]
    compute_ns: int
    request: str = ""
    kept: bool = False


@dataclass(slots=True, eq=False)
class _Waiting:
    rows: NDArray[Any]
    until_s: float
    done: asyncio.Future[Answer]


@final
@dataclass(slots=True, eq=False)
class Lane:
    """Batches for one session, in the event loop that made it; `pool` computes what takes long.

    `sizes` counts batches of up to 0, 1, 3, 7 … rows, and `answered` the rows of all of them.
    """

    session: Session
    pool: Executor
    terms: Terms = field(default_factory=Terms)
    pace: Pace = field(default_factory=Pace)
    sizes: list[int] = field(default_factory=lambda: [0] * _SIZES, init=False)
    answered: int = field(default=0, init=False)
    _line: deque[_Waiting] = field(default_factory=deque, init=False)
    _rows: int = field(default=0, init=False)
    _busy: bool = field(default=False, init=False)
    _alarm: asyncio.TimerHandle | None = field(default=None, init=False)  # while a batch waits to be fuller

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return self._rows

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._busy and not self._line

    def ask(self, rows: NDArray[Any]) -> asyncio.Future[Answer]:
        """The answer to come; raises `RefusedError` (429) if it would come too late, (413) if the request is too big.

        Cancel it and it is not computed, unless that has begun.
        """
        if len(rows) > self.terms.most_rows:
            raise RefusedError(413, f"A request has at most {self.terms.most_rows} rows.")
        wait_s = self.pace.expected_s(self._rows + len(rows))
        if wait_s > self.terms.patience_s:
            raise RefusedError(429, "Too many requests wait.", retry_s=wait_s)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()
        self._line.append(_Waiting(rows, time.monotonic() + self.terms.patience_s, done))
        self._rows += len(rows)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._turn)
        elif self._alarm is not None and self._rows >= self.terms.gather:
            self._alarm.cancel()
            self._alarm = None
            loop.call_soon(self._turn)
        return done

    def _turn(self) -> None:
        """Answer the next batch, here or in the pool, then the one after it."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        if self.terms.wait_s and self._line and (early_s := self._early_s()) > 0:
            self._alarm = loop.call_later(early_s, self._turn)
            return
        batch = self._batch()
        if not batch:
            self._busy = bool(self._line)
            if self._busy:
                loop.call_soon(self._turn)
            return
        if self.pace.expected_s(sum(len(each.rows) for each in batch)) < self.terms.inline_s:
            self._tell(batch, _answers(self.session, batch))
            loop.call_soon(self._turn)
            return
        task = loop.run_in_executor(self.pool, _answers, self.session, batch)
        task.add_done_callback(partial(self._came, batch))

    def _early_s(self) -> float:
        """The seconds for which the next batch still waits to be fuller."""
        if self._rows >= self.terms.gather:
            return 0.0
        came_s = self._line[0].until_s - self.terms.patience_s
        return came_s + self.terms.wait_s - time.monotonic()

    def _came(self, batch: list[_Waiting], done: asyncio.Future[list[Answer | Exception]]) -> None:
        self._tell(batch, done.result())
        self._turn()

    def _batch(self) -> list[_Waiting]:
        """The first that wait, of one shape and type, as many as are answered in the target time."""
        room = self.pace.most(self.terms.target_s, self.terms.gather or self.terms.most_rows)
        batch: list[_Waiting] = []
        now_s = time.monotonic()
        while self._line:
            first = self._line[0]
            size = len(first.rows)
            if batch and (size > room or not _alike(first.rows, batch[0].rows)):
                break
            self._line.popleft()
            self._rows -= size
            if first.done.done():
                continue
            if first.until_s < now_s:
                first.done.set_exception(RefusedError(429, "The request waited for too long.", retry_s=1.0))
                continue
            batch.append(first)
            room -= size
        return batch

    def _tell(self, batch: list[_Waiting], found: list[Answer | Exception]) -> None:
        right = [each for each in found if isinstance(each, Answer)]
        rows = sum(len(each.rows) for each in right)
        self.sizes[min(rows.bit_length(), _SIZES - 1)] += 1
        self.answered += rows
        if len(right) == len(batch):
            self.pace.saw(rows, sum(each.compute_ns for each in right) / _NS)
        for each, answer in zip(batch, found, strict=True):
            if each.done.done():
                continue
            if isinstance(answer, Answer):
                each.done.set_result(answer)
            else:
                each.done.set_exception(_refused(answer))


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape[1:] == b.shape[1:]


def _answers(session: Session, batch: list[_Waiting]) -> list[Answer | Exception]:
    """What the session says to each of a batch; of several, one bad request must not fail the others."""
    rows = batch[0].rows if len(batch) == 1 else np.concatenate([each.rows for each in batch])
    begin = time.perf_counter_ns()
    try:
        found = _told(session, rows)
    except Exception as error:  # ruff: ignore[blind-except] - whatever a model raises is told to who asked
        if len(batch) == 1:
            return [error]
        return [answer for each in batch for answer in _answers(session, [each])]
    took_ns = time.perf_counter_ns() - begin
    ends = list(accumulate(len(each.rows) for each in batch))
    return [
        Answer(found[end - len(each.rows) : end], took_ns * len(each.rows) // len(rows))
        for end, each in zip(ends, batch, strict=True)
    ]


def _told(session: Session, rows: NDArray[Any]) -> NDArray[Any]:
    found = np.asarray(session.predict(rows))
    if len(found) != len(rows):
        raise _WrongCountError
    return found


class _WrongCountError(Exception):
    """A model gave another number of answers than it was asked questions."""


def _refused(why: Exception) -> RefusedError:
    """Our own words; what a library says after a colon may tell of the machine, and stays here."""
    if not isinstance(why, PennyweightError):
        return RefusedError(500, "The model failed.")
    return bad(f"{why.problem.partition(': ')[0].rstrip('.')[:200]}.")
