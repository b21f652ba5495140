"""The one who writes: a thread that commits what many requests left behind in one transaction, then lets them go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar, final

from sqlalchemy import Connection

from pennyweight.errors import PennyweightError
from pennyweight.serve.counters import Counters
from pennyweight.serve.money import softly
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team import budgets, leases, tallies, usage
from pennyweight.store.team.opened import brief, explained
from pennyweight.store.team.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from pennyweight.serve.money.purse import Hold
    from pennyweight.serve.money.softly import Soft
    from pennyweight.store.team.usage import Request

    Begin = Callable[[Connection], AbstractContextManager[Any]]  # a transaction on a connection

T = TypeVar("T")
LOST = RefusedError(503, "The reservation for this request ran out; nothing was charged.", retry_s=1.0)
"""What a write ends with if a lease that it was to be paid from has ended."""
_MOST = 4096  # rows of one transaction
_AGAIN = 3  # times that a transaction is tried again after others stood in its way
_MANY = 6  # rows of two groups after which the next one is waited for
_GATHER_S = 2e-4  # what comes within this joins a transaction that costs as much as twenty rows (commit_delay)
_DEADLOCK = "40P01"


@dataclass(slots=True, eq=False)
class _Row:
    request: Request
    hold: Hold
    done: asyncio.Future[None]


@final
@dataclass(eq=False)
class Book:
    """Writes rows and settles holds in groups: whoever comes while one group is written is in the next.

    While many come at once, a group waits a moment for those who are about to: fewer, fuller transactions cost a third
    less of a processor for each request, and nobody waits longer for them, as the processor is what all wait for.
    A row is on the disk when its future is done. If the store fails, the futures fail with `RefusedError` (503):
    what cannot be recorded is not answered. `soft` are the budgets that are only counted, by tenant and key.
    """

    engine: Engine
    counters: Counters = field(default_factory=Counters)
    soft: Soft = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _rows: deque[_Row] = field(default_factory=deque, init=False)
    _errands: deque[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = field(default_factory=deque, init=False)
    _notes: deque[tuple[tuple[int, int], Tally]] = field(default_factory=deque, init=False)
    _link: Connection | None = field(default=None, init=False)
    _bell: threading.Event = field(default_factory=threading.Event, init=False)
    _open: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Start the thread."""
        self._url = str(self.engine.url)
        self._thread = threading.Thread(target=self._work, name="book", daemon=True)
        self._thread.start()

    def write(self, request: Request, hold: Hold) -> asyncio.Future[None]:
        """Record a request and settle its hold; done when both are on the disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._rows.append(_Row(request, hold, done))
        if not self._bell.is_set():
            self._bell.set()
        return done

    def note(self, rollout: int, number: int, seen: Tally) -> None:
        """Add to what a version on trial has done; it is on the disk with the next group, or when `flush` is done."""
        self._notes.append(((rollout, number), seen))

    def flush(self) -> asyncio.Future[None]:
        """Bring what was noted to the disk."""
        noted: dict[tuple[int, int], Tally] = {}

        def errand(link: Connection) -> None:  # which may be tried again
            for which, seen in self._noted().items():
                noted[which] = noted.get(which, Tally()) + seen
            tallies.add(link, noted)

        return self.run(errand)

    def _noted(self) -> dict[tuple[int, int], Tally]:
        """What was noted until now; the event loop may note more meanwhile."""
        found: dict[tuple[int, int], Tally] = {}
        for _ in range(len(self._notes)):
            which, seen = self._notes.popleft()
            found[which] = found.get(which, Tally()) + seen
        return found

    def run(self, errand: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Let the thread carry something out in a transaction of its own."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._errands.append((errand, done))
        self._bell.set()
        return done

    def close(self) -> None:
        """Write what is left and stop."""
        self._open = False
        self._bell.set()
        self._thread.join()

    def _work(self) -> None:
        last = before = 0
        while self._open or self._rows or self._errands:
            self._bell.wait()
            self._bell.clear()
            while self._errands:
                errand, done = self._errands.popleft()
                self._post(done, self._tried(errand))
            while self._rows:
                if last + before >= _MANY:
                    time.sleep(_GATHER_S)
                before, last = last, min(_MOST, len(self._rows))
                self._group([self._rows.popleft() for _ in range(last)])
        if self._link is not None:
            self._link.close()

    def _group(self, rows: list[_Row]) -> None:
        noted = self._noted() if self._notes else {}
        begin = Connection.begin if noted or self.soft else brief
        found = self._tried(lambda link: _recorded(link, rows, noted, self.soft), begin)
        if isinstance(found, list):
            for row in compress(rows, found):
                self.counters.wrote(row.request)
        else:
            self._notes.extend(noted.items())
        self._loop.call_soon_threadsafe(_let_go, rows, found)

    def _tried(
        self, errand: Callable[[Connection], T], begin: Begin = Connection.begin
    ) -> T | RefusedError | PennyweightError:
        found = self._once(errand, begin)
        for _ in range(_AGAIN):
            if not _clashed(found):
                break
            found = self._once(errand, begin)
        return found

    def _once(self, errand: Callable[[Connection], T], begin: Begin) -> T | RefusedError | PennyweightError:
        try:
            with explained(self._url):
                return self._carried_out(errand, begin)
        except PennyweightError as error:
            return error
        except Exception:  # ruff: ignore[blind-except] - the thread must live on; whoever waits is told
            return RefusedError(503, "The store cannot be written.", retry_s=1.0)

    def _carried_out(self, errand: Callable[[Connection], T], begin: Begin) -> T:
        """Carry out in a transaction on the thread's own connection, which is opened anew after any failure."""
        link = self._link = self._link or self.engine.connect()
        try:
            with begin(link):
                return errand(link)
        except BaseException:
            self._link = None
            link.close()
            raise

    def _post(self, done: asyncio.Future[Any], found: object) -> None:
        self._loop.call_soon_threadsafe(_finish, done, found)


def _recorded(link: Connection, rows: list[_Row], noted: dict[tuple[int, int], Tally], soft: Soft) -> list[bool]:
    """Record and settle those rows whose leases still live; whether each of them was."""
    ids = {id_ for row in rows for id_, _ in row.hold.parts}
    alive = leases.held(link, ids) if ids else {}
    fine = [all(id_ in alive for id_, _ in row.hold.parts) for row in rows]
    spent: Counter[str] = Counter()
    for row, is_fine in zip(rows, fine, strict=True):
        if is_fine:
            spent.update(row.hold.spent(row.request.cost_nusd))
    requests = [row.request for row in compress(rows, fine)]
    usage.record(link, requests)
    leases.settle(link, spent)
    if soft:
        budgets.track(link, softly.spent(requests, soft))
    tallies.add(link, noted)
    return fine


def _let_go(rows: list[_Row], found: list[bool] | RefusedError | PennyweightError) -> None:
    if not isinstance(found, list):
        for row in rows:
            _finish(row.done, RefusedError(503, "The store cannot be written; nothing was charged.", retry_s=1.0))
        return
    for row, fine in zip(rows, found, strict=True):
        _finish(row.done, None if fine else LOST)


def _clashed(found: object) -> bool:
    """Whether PostgreSQL gave a transaction up so that others, which waited for it as it did for them, can go on."""
    said = getattr(found, "__cause__", None)
    return getattr(getattr(said, "orig", said), "sqlstate", "") == _DEADLOCK


def _finish(done: asyncio.Future[Any], found: object) -> None:
    if done.done():
        return
    if isinstance(found, Exception):
        done.set_exception(found)
    else:
        done.set_result(found)
