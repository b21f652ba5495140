"""The workers of an asynchronous training: given rows when they are free, given up when they are lost too often."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import PennyweightError
from pennyweight.train.server.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    from pennyweight.train.server.fleet import Fleet
    from pennyweight.train.server.order import Serving
    from pennyweight.train.server.worker import Told

_SILENCE_S = 600.0
_AWAY_S = 120.0  # what a worker may take to start
_BACK_S = 0.25  # between two tries of a worker that is being started again


@dataclass(frozen=True, slots=True)
class Landing:
    """A step that has ended: whose, what came of it, on which rows, and how many changes by others it missed."""

    worker: int
    told: Told
    rows: np.ndarray
    missed: int


@final
class Crew:
    """The workers of `fleet`; `say` hears of those that are lost."""

    def __init__(self, fleet: Fleet, serving: Serving, say: Callable[[str], None]) -> None:
        self._fleet, self._most_losses, self._say = fleet, serving.most_losses, say
        self._gate = Gate(serving.staleness)
        self._free = dict.fromkeys(range(len(fleet.workers)), 0.0)  # and when they may be tried
        self._stale = set(self._free)  # whose copy of the weights others have changed
        self._flying: dict[Any, tuple[int, np.ndarray]] = {}
        self._again: deque[np.ndarray] = deque()
        self._cpu_s: dict[int, float] = {}  # of the process that each runs in, since it first answered
        self._away_s: dict[int, float] = {}
        self._losses = dict.fromkeys(self._free, 0)

    @property
    def losses(self) -> int:
        """How often a worker was lost."""
        return sum(self._losses.values())

    @property
    def cpu_s(self) -> float:
        """The CPU seconds of all workers so far, as far as they have told."""
        return self._fleet.lost_cpu_s + sum(self._cpu_s.values())

    @property
    def there(self) -> list[int]:
        """The workers that have answered and were not lost since."""
        return sorted(self._cpu_s)

    def hand_out(self, rows: Iterator[np.ndarray]) -> bool:
        """Give rows to every worker that is free and may begin; False if no step is under way and no rows are left."""
        now = time.monotonic()
        for worker in [each for each, at in self._free.items() if at <= now]:
            if not self._gate.may_begin(worker):
                self._stale.add(worker)
                continue
            portion = self._again.popleft() if self._again else next(rows, None)
            if portion is None:
                return bool(self._flying)
            self._send(worker, portion)
        if not self._flying and not self._free:
            raise PennyweightError("All workers were lost.", "see that there is memory for them, or use fewer.")
        return True

    def landings(self) -> Iterator[Landing]:
        """Wait for a step to end; nothing if it was a worker that ended, or if some are still being started."""
        import ray

        if not self._flying:
            time.sleep(_BACK_S)
            return
        done, _ = ray.wait(list(self._flying), num_returns=1, timeout=_BACK_S if self._free else _SILENCE_S)
        if not done and not self._free:
            raise PennyweightError("No worker has ended a step for ten minutes.", "see what the machine is doing.")
        for call in done:
            worker, rows = self._flying.pop(call)
            try:
                told = ray.get(call)
            except ray.exceptions.RayActorError as error:
                self._lose(worker, rows, final=isinstance(error, ray.exceptions.ActorDiedError))
            else:
                yield self._land(worker, told, rows)

    def _send(self, worker: int, rows: np.ndarray) -> None:
        self._gate.begin(worker)
        call = self._fleet.workers[worker].step.remote(rows, fresh=worker in self._stale)
        self._flying[call] = worker, rows
        self._stale.discard(worker)
        del self._free[worker]

    def _land(self, worker: int, told: Told, rows: np.ndarray) -> Landing:
        self._free[worker] = 0.0
        self._cpu_s[worker] = told.cpu_s
        self._away_s.pop(worker, None)
        if not told.refused:
            return Landing(worker, told, rows, self._gate.end(worker))
        self._gate.leave(worker)
        self._stale.add(worker)
        return Landing(worker, told, rows, 0)

    def _lose(self, worker: int, rows: np.ndarray, *, final: bool) -> None:
        self._gate.leave(worker)
        self._again.append(rows)
        self._stale.add(worker)
        now = time.monotonic()
        if worker not in self._away_s:
            self._away_s[worker] = now
            self._losses[worker] += 1
            self._fleet.lost_cpu_s += self._cpu_s.pop(worker, 0.0)
            self._say(f"Worker {worker} was lost; its rows are given out again and it begins anew.")
        if final or self._losses[worker] > self._most_losses or now - self._away_s[worker] > _AWAY_S:
            self._say(f"Worker {worker} does not come back; the others go on without it.")
            return
        self._free[worker] = now + _BACK_S
