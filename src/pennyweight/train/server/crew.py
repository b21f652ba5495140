"""The workers of an asynchronous training: given rows when they are free, given up when they are lost too often."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import PennyweightError
from pennyweight.train.server.gate import Gate
from pennyweight.train.server.hand import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from pennyweight.train.server.fleet import Fleet
    from pennyweight.train.server.worker import Told

_SILENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Landing:
    """A step that has ended: whose, what came of it, on which rows, and how many changes by others it missed."""

    worker: int
    told: Told
    rows: np.ndarray
    missed: int


@final
class Crew:
    """The workers of `fleet`; `began` are the calls that end when each can be given rows, `say` hears of the lost."""

    def __init__(self, fleet: Fleet, began: list[Any], say: Callable[[str], None]) -> None:
        self._fleet, self._say = fleet, say
        self._gate = Gate(fleet.serving.staleness)
        self._free: dict[int, None] = {}  # in the order in which they became free
        self._stale = set(range(len(began)))  # whose copy of the weights others have changed
        self._coming = {call: worker for worker, call in enumerate(began)}
        self._flying: dict[Any, tuple[int, np.ndarray]] = {}
        self._again: deque[np.ndarray] = deque()
        self._cpu_s: dict[int, float] = {}  # of the process that each runs in, since it was there
        self._since_s: dict[int, float] = {}  # when those were lost that are not back
        self._losses = [0] * len(began)

    @property
    def losses(self) -> int:
        """How often a worker was lost."""
        return sum(self._losses)

    @property
    def cpu_s(self) -> float:
        """The CPU seconds of all workers so far, as far as they have told."""
        return self._fleet.lost_cpu_s + sum(self._cpu_s.values())

    @property
    def there(self) -> list[int]:
        """The workers that are there."""
        return sorted(self._cpu_s)

    @property
    def left(self) -> bool:
        """Whether any worker is there, or on its way."""
        return bool(self._flying or self._coming or self._free)

    def hand_out(self, rows: Iterator[np.ndarray]) -> bool:
        """Give rows to every worker that is free and may begin; False if no step is under way and no rows are left."""
        for worker in list(self._free):
            if not self._gate.may_begin(worker):
                self._stale.add(worker)
                continue
            portion = self._again.popleft() if self._again else next(rows, None)
            if portion is None:
                return bool(self._flying)
            self._gate.begin(worker)
            del self._free[worker]
            self._send(worker, portion, fresh=worker in self._stale)
        return True

    def landings(self) -> Iterator[Landing]:
        """Wait until a step ends, a worker comes or one is lost; the step if that was it."""
        import ray

        done, _ = ray.wait([*self._flying, *self._coming], num_returns=1, timeout=_SILENCE_S)
        if not done:
            raise PennyweightError("No worker has ended a step for ten minutes.", "see what the machine is doing.")
        for call in done:
            worker, rows = (self._coming.pop(call), None) if call in self._coming else self._flying.pop(call)
            try:
                told = answer(call)
            except ray.exceptions.RayActorError:
                self._lose(worker, rows)
                continue
            if rows is None:
                self._welcome(worker)
            elif told.lost:
                self._fleet.mend()
                self._send(worker, rows, fresh=True)
            else:
                yield self._land(worker, told, rows)

    def _send(self, worker: int, rows: np.ndarray, *, fresh: bool) -> None:
        call = self._fleet.workers[worker].do.remote("step", rows, fresh=fresh)
        self._flying[call] = worker, rows
        self._stale.discard(worker)

    def _welcome(self, worker: int) -> None:
        self._free[worker] = None
        self._cpu_s[worker] = 0.0
        since = self._since_s.pop(worker, None)
        if since is not None:
            self._say(f"Worker {worker} is back after {time.monotonic() - since:.2f} s.")
        if not self._coming:  # a spare that starts sooner would hold those up that are needed
            self._fleet.prepare()

    def _land(self, worker: int, told: Told, rows: np.ndarray) -> Landing:
        self._free[worker] = None
        self._cpu_s[worker] = told.cpu_s
        if not told.refused:
            return Landing(worker, told, rows, self._gate.end(worker))
        self._gate.leave(worker)
        self._stale.add(worker)
        return Landing(worker, told, rows, 0)

    def _lose(self, worker: int, rows: np.ndarray | None) -> None:
        self._gate.leave(worker)
        if rows is not None:
            self._again.append(rows)
        self._stale.add(worker)
        self._since_s.setdefault(worker, time.monotonic())
        self._losses[worker] += 1
        self._fleet.lost_cpu_s += self._cpu_s.pop(worker, 0.0)
        most = self._fleet.serving.most_losses
        if self._losses[worker] > most:
            self._say(f"Worker {worker} was lost more than {most} times; the others go on without it.")
            return
        self._say(f"Worker {worker} was lost; its rows are given out again and another process takes its place.")
        self._coming[self._fleet.new_worker(worker)] = worker
