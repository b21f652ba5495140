"""The processes of an asynchronous training as Ray actors: started, started again when lost, and asked."""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.train.server.shard import Shard, Slice
from pennyweight.train.server.worker import Lesson, Worker, answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from pennyweight.train.objective import Batch
    from pennyweight.train.server.order import Serving

_AGAIN = -1  # Ray's word for: as often as need be


@final
@dataclass
class Fleet:
    """The actors, and the numbers of their processes as last known; `lost_cpu_s` is what processes now gone took."""

    shards: list[Any]
    workers: list[Any]
    shard_processes: list[int] = field(default_factory=list)
    lost_cpu_s: float = 0.0
    held: list[Any] = field(default_factory=list)  # what a worker needs to be started again

    @classmethod
    def start(cls, model: nn.Module, data: Batch, lesson: Lesson, serving: Serving, place: Slice) -> Fleet:
        """Start all processes and wait until every shard answers; workers may still be on their way."""
        import ray

        _travels(model)
        serve = ray.remote(max_restarts=_AGAIN, num_cpus=0)(Shard)
        work = ray.remote(max_restarts=_AGAIN, num_cpus=0)(Worker)
        pieces = np.array_split(flat(model), serving.shards)
        shards = [serve.remote(piece, lesson.settings, replace(place, number=i)) for i, piece in enumerate(pieces)]
        arrays = tuple(_plain(each) for each in (data.x, data.y, data.weight, data.teacher))
        held = [ray.put(model), ray.put(arrays)]
        pace_s = (*serving.pace_s, *[0.0] * lesson.settings.team.workers)
        workers = [
            work.remote(replace(lesson, number=i, pace_s=pace_s[i]), held, shards)
            for i in range(lesson.settings.team.workers)
        ]
        return cls(shards, workers, [ray.get(each.process.remote()) for each in shards], held=held)

    def weights(self) -> np.ndarray:
        """All weights (N,) as the shards have them now."""
        from pennyweight.train.server.shard import Push

        return np.concatenate([self.ask(i, "exchange", Push(-1, 0)) for i in range(len(self.shards))])

    def ask(self, shard: int, verb: str, *words: Any) -> Any:
        """What a shard answers, however often it has to be started again."""

        def call() -> Any:
            return getattr(self.shards[shard], verb).remote(*words)

        return answered(call(), call, f"shard {shard}")

    def lost_shards(self) -> Iterator[int]:
        """The shards that run in another process than when last asked."""
        for i, before in enumerate(self.shard_processes):
            self.shard_processes[i] = self.ask(i, "process")
            if self.shard_processes[i] != before:
                yield i

    def states(self) -> list[dict[str, Any]]:
        """The state of every shard, as a tree of tensors and numbers."""
        return [self.ask(i, "state") for i in range(len(self.shards))]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Give every shard its state."""
        for i, state in enumerate(states):
            self.ask(i, "restore", state)

    def cpu_s(self, workers: list[int]) -> float:
        """The CPU seconds of all processes: the shards, and those `workers` that are still there."""
        import ray

        calls = [self.workers[i].cpu_s.remote() for i in workers]
        shards = sum(self.ask(i, "cpu_s") for i in range(len(self.shards)))
        return float(self.lost_cpu_s + shards + sum(ray.get(calls)))

    def buffers(self, workers: list[int]) -> list[np.ndarray]:
        """The mean over `workers` of what their models remember beside weights; of what is no float, the first's."""
        import ray

        found = ray.get([self.workers[i].buffers.remote() for i in workers])
        return [
            np.mean(each, axis=0, dtype=np.float64).astype(each[0].dtype) if each[0].dtype.kind == "f" else each[0]
            for each in zip(*found, strict=True)
        ]

    def stop(self) -> None:
        """End all processes."""
        import ray

        for each in (*self.workers, *self.shards):
            ray.kill(each)


def flat(model: nn.Module) -> np.ndarray:
    """All trainable parameters, one after another (N,), as a copy."""
    import torch

    array: np.ndarray = torch.cat([each.detach().reshape(-1) for each in _weights(model)]).numpy()
    return array


def fill(model: nn.Module, weights: np.ndarray) -> None:
    """Give `model` the weights (N,)."""
    import torch

    parts = torch.from_numpy(weights).split([each.numel() for each in _weights(model)])
    with torch.no_grad():
        for each, part in zip(_weights(model), parts, strict=True):
            each.copy_(part.view_as(each))


def _weights(model: nn.Module) -> list[Any]:
    return [each for each in model.parameters() if each.requires_grad]


def _plain(tensor: Any) -> np.ndarray | None:
    return None if tensor is None else tensor.numpy()


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
