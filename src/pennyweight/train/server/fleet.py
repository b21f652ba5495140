"""The processes of an asynchronous training as Ray actors: started, replaced when lost, and asked."""

from __future__ import annotations

import sys
import sysconfig
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import PennyweightError
from pennyweight.train.server.hand import answer, end
from pennyweight.train.server.shard import Push, Shard, Slice
from pennyweight.train.server.weights import flat, slices
from pennyweight.train.server.worker import Lesson, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from pennyweight.train.objective import Batch
    from pennyweight.train.server.hand import Pool
    from pennyweight.train.server.order import Serving

_RETRY_S, _PATIENCE_S = 0.1, 120.0
_LAST_WORD_S = 10.0  # what an answer that only counts CPU seconds is waited for


@dataclass(frozen=True, slots=True)
class Start:
    """What the processes of a training begin with: the arrays and the model lie in Ray's store, once for all."""

    lesson: Lesson
    place: Slice
    pieces: list[Any]
    model: Any
    arrays: Any


@final
@dataclass
class Fleet:
    """The processes: `shards` and `workers` by their numbers; `say` hears of shards that are lost.

    `lost_cpu_s` is what processes now gone took, as far as they had told.
    """

    pool: Pool
    serving: Serving
    begin: Start
    say: Callable[[str], None]
    shards: list[Any] = field(default_factory=list)
    workers: list[Any] = field(default_factory=list)
    shard_losses: list[int] = field(default_factory=list)
    lost_cpu_s: float = 0.0

    def start(self) -> list[Any]:
        """Start all processes; the calls that end when a worker, in their order, can be given rows."""
        count = self.begin.lesson.settings.team.workers
        self.shards = [self.pool.take() for _ in self.begin.pieces]
        self.workers = [self.pool.take() for _ in range(count)]
        self.shard_losses = [0] * len(self.shards)
        calls = [self._serve(i) for i in range(len(self.shards))]
        began = [self._work(i) for i in range(count)]
        for call in calls:
            answer(call)
        return began

    def prepare(self) -> None:
        """Have the spares ready that are to take the place of the next that are lost."""
        self.pool.prepare(self.serving.spares)

    def new_worker(self, number: int) -> Any:
        """Put another process in the place of a worker that was lost; the call that ends when it can be given rows."""
        self.workers[number] = self.pool.take()
        return self._work(number)

    def weights(self) -> np.ndarray:
        """All weights (N,) as the shards have them now."""
        return np.concatenate([self.ask(i, "exchange", Push(-1, 0)) for i in range(len(self.shards))])

    def ask(self, shard: int, verb: str, *words: Any) -> Any:
        """What a shard answers; one that is lost is replaced first.

        Raises `PennyweightError` if it is lost time and again, or does not answer for two minutes.
        """
        import ray

        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            try:
                return answer(self.shards[shard].do.remote(verb, *words))
            except ray.exceptions.ActorDiedError:
                self._replace(shard)
            except ray.exceptions.ActorUnavailableError:
                time.sleep(_RETRY_S)
        raise PennyweightError(f"Shard {shard} of the server does not answer.", "see what the machine is doing.")

    def mend(self) -> None:
        """Replace the shards that were lost."""
        for i in range(len(self.shards)):
            self.ask(i, "version")

    def states(self) -> list[dict[str, Any]]:
        """The state of every shard, as a tree of tensors and numbers."""
        return [self.ask(i, "state") for i in range(len(self.shards))]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Give every shard its state."""
        for i, state in enumerate(states):
            self.ask(i, "restore", state)

    def cpu_s(self, workers: list[int]) -> float:
        """The CPU seconds of the shards, of `workers`, of spares that are ready, and of processes now gone."""
        hands = [*self.shards, *(self.workers[i] for i in workers), *self.pool.ready()]
        return float(self.lost_cpu_s + sum(_answers([each.cpu_s.remote() for each in hands])))

    def buffers(self, workers: list[int]) -> list[np.ndarray]:
        """The mean over `workers` of what their models remember beside weights; of what is no float, the first's."""
        found = _answers([self.workers[i].do.remote("buffers") for i in workers])
        return [
            np.mean(each, axis=0, dtype=np.float64).astype(each[0].dtype) if each[0].dtype.kind == "f" else each[0]
            for each in zip(*found, strict=True)
        ]

    def rest(self) -> None:
        """Give all processes back, for the next training."""
        for each in (*self.workers, *self.shards):
            self.pool.give_back(each)

    def stop(self) -> None:
        """End all processes."""
        for each in (*self.workers, *self.shards):
            end(each)

    def _work(self, number: int) -> Any:
        begin, pace_s = self.begin, self.serving.pace_s
        lesson = replace(begin.lesson, number=number, pace_s=pace_s[number] if number < len(pace_s) else 0.0)
        return self.workers[number].become.remote(Worker, lesson, begin.model, begin.arrays, self.shards)

    def _serve(self, number: int) -> Any:
        begin = self.begin
        place = replace(begin.place, number=number)
        return self.shards[number].become.remote(Shard, begin.pieces[number], begin.lesson.settings, place)

    def _replace(self, shard: int) -> None:
        import ray

        since = time.monotonic()
        self.shard_losses[shard] += 1
        if self.shard_losses[shard] > self.serving.most_losses:
            raise PennyweightError(
                f"Shard {shard} of the server was lost more than {self.serving.most_losses} times.",
                "see that there is memory for it, or use more shards.",
            )
        self.say(f"Shard {shard} of the server was lost; another process goes on from the state it kept last.")
        self.shards[shard] = self.pool.take()
        try:
            answer(self._serve(shard))
        except ray.exceptions.ActorDiedError:
            return  # it is replaced when it is asked next
        for each in self.workers:
            each.do.remote("meet", self.shards)
        self.say(f"Shard {shard} of the server is back after {time.monotonic() - since:.2f} s.")
        self.prepare()


def beginning(model: nn.Module, data: Batch, lesson: Lesson, place: Slice, shards: int) -> Start:
    """Lay what all processes need into Ray's store: the model, the rows, and a slice of the weights for each shard."""
    import ray

    _travels(model)
    arrays = tuple(None if each is None else each.numpy() for each in (data.x, data.y, data.weight, data.teacher))
    pieces = [ray.put(each) for each in slices(flat(model), shards)]
    return Start(lesson, place, pieces, ray.put(model), ray.put(arrays))


def _answers(calls: list[Any]) -> list[Any]:
    """What those answer that are there and not too busy."""
    import ray

    found = []
    done, _ = ray.wait(calls, num_returns=len(calls), timeout=_LAST_WORD_S) if calls else ([], [])
    for call in done:
        try:
            found.append(ray.get(call))
        except ray.exceptions.RayActorError:
            continue
    return found


def _travels(model: nn.Module) -> None:
    """Have the code of classes sent along that a worker could not import: those of recipes and scripts.

    It goes from this process to workers that it has started itself; nothing that comes from elsewhere is read this way.
    """
    from ray.cloudpickle import register_pickle_by_value

    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    for name in {type(each).__module__ for each in model.modules()} - {"__main__"}:
        module = sys.modules.get(name)
        path = Path(getattr(module, "__file__", None) or sysconfig.get_path("stdlib"))
        if module is not None and name.partition(".")[0] != "pennyweight" and not installed & {path, *path.parents}:
            register_pickle_by_value(module)
