"""The one who writes: a thread that commits what many requests left behind in one transaction, then lets them go."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team import leases, usage
from pennyweight.store.team.opened import explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from pennyweight.serve.purse import Hold
    from pennyweight.store.team.usage import Request

T = TypeVar("T")
_LOST = RefusedError(503, "The reservation for this request ran out; nothing was charged.", retry_s=1.0)
_MOST = 4096  # rows of one transaction


@dataclass(slots=True, eq=False)
class _Row:
    request: Request
    hold: Hold
    done: asyncio.Future[None]


@final
@dataclass(eq=False)
class Book:
    """Writes rows and settles holds in groups: whoever comes while one group is written is in the next.

    A row is on the disk when its future is done. If the store fails, the futures fail with `RefusedError` (503):
    what cannot be recorded is not answered.
    """

    engine: Engine
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _rows: deque[_Row] = field(default_factory=deque, init=False)
    _errands: deque[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = field(default_factory=deque, init=False)
    _bell: threading.Event = field(default_factory=threading.Event, init=False)
    _open: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="book", daemon=True)
        self._thread.start()

    def write(self, request: Request, hold: Hold) -> asyncio.Future[None]:
        """Record a request and settle its hold; done when both are on the disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._rows.append(_Row(request, hold, done))
        self._bell.set()
        return done

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
        while self._open or self._rows or self._errands:
            self._bell.wait()
            self._bell.clear()
            while self._errands:
                errand, done = self._errands.popleft()
                self._post(done, self._tried(errand))
            while self._rows:
                self._group([self._rows.popleft() for _ in range(min(_MOST, len(self._rows)))])

    def _group(self, rows: list[_Row]) -> None:
        found = self._tried(lambda link: _recorded(link, rows))
        self._loop.call_soon_threadsafe(_let_go, rows, found)

    def _tried(self, errand: Callable[[Connection], T]) -> T | RefusedError | PennyweightError:
        try:
            with explained(str(self.engine.url)), self.engine.begin() as link:
                return errand(link)
        except PennyweightError as error:
            return error
        except Exception:  # ruff: ignore[blind-except] - the thread must live on; whoever waits is told
            return RefusedError(503, "The store cannot be written.", retry_s=1.0)

    def _post(self, done: asyncio.Future[Any], found: object) -> None:
        self._loop.call_soon_threadsafe(_finish, done, found)


def _recorded(link: Connection, rows: list[_Row]) -> list[bool]:
    """Record and settle those rows whose leases still live; whether each of them was."""
    ids = {id_ for row in rows for id_, _ in row.hold.parts}
    alive = leases.held(link, ids) if ids else {}
    fine = [all(id_ in alive for id_, _ in row.hold.parts) for row in rows]
    spent: Counter[str] = Counter()
    for row, is_fine in zip(rows, fine, strict=True):
        if is_fine:
            spent.update(row.hold.spent(row.request.cost_nusd))
    usage.record(link, [row.request for row, is_fine in zip(rows, fine, strict=True) if is_fine])
    leases.settle(link, spent)
    return fine


def _let_go(rows: list[_Row], found: list[bool] | RefusedError | PennyweightError) -> None:
    if not isinstance(found, list):
        for row in rows:
            _finish(row.done, RefusedError(503, "The store cannot be written; nothing was charged.", retry_s=1.0))
        return
    for row, fine in zip(rows, found, strict=True):
        _finish(row.done, None if fine else _LOST)


def _finish(done: asyncio.Future[Any], found: object) -> None:
    if done.done():
        return
    if isinstance(found, Exception):
        done.set_exception(found)
    else:
        done.set_result(found)
