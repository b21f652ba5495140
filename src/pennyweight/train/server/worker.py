"""One worker: computes gradients on the rows it is given and trades them for weights with every shard."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import PennyweightError
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.precision import Precision
from pennyweight.train.regular import hold_gradients, set_dropout
from pennyweight.train.server.shard import Push

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from pennyweight.core import Task, TrainSpec

_RETRY_S, _PATIENCE_S = 0.1, 120.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a worker needs to know: its number, the settings and the task, the seed, seconds it is held up per step."""

    number: int
    settings: TrainSpec
    task: Task
    seed: int
    pace_s: float = 0.0
    temperature: float = 2.0
    mix: float = 0.5


@dataclass(frozen=True, slots=True)
class Told:
    """What one step came to: its loss, bytes both ways, CPU seconds of the process so far, what went wrong.

    `refused` says that its gradient was no number and was not handed over, `waited` that a shard had to be asked again.
    """

    loss: float
    byte: int
    cpu_s: float
    refused: bool
    waited: bool


@final
class Worker:
    """Holds a copy of the model and all rows (x, y, weight, teacher), and talks to `shards`, actors of Ray.

    `held` are the model and the rows in Ray's store, which the processes of one machine share.
    """

    def __init__(self, lesson: Lesson, held: Sequence[Any], shards: Sequence[Any]) -> None:
        import ray
        import torch

        model: nn.Module
        arrays: tuple[np.ndarray | None, ...]
        model, arrays = ray.get(list(held))
        torch.set_num_threads(1)
        torch.manual_seed(lesson.seed * 1_000_003 + lesson.number)
        with warnings.catch_warnings():  # what Ray hands over may not be written to, and is not
            warnings.filterwarnings("ignore", message=".*not writable.*")
            self._data = Batch(*(None if each is None else torch.from_numpy(each) for each in arrays))
        self._lesson, self._model, self._shards = lesson, model, tuple(shards)
        regular = lesson.settings.regular
        if regular.dropout:
            set_dropout(model, regular.dropout)
        self._objective = Objective(lesson.task, lesson.temperature, lesson.mix, regular.smoothing)
        self._precision = Precision(lesson.settings.precision)
        self._weights = [each for each in model.parameters() if each.requires_grad]
        self._clock = 0
        self._byte = self._waits = 0
        self._new = True
        model.train()

    def step(self, rows: np.ndarray, *, fresh: bool) -> Told:
        """Compute the gradient on `rows` and hand it over; `fresh` reads the weights first, which others changed."""
        byte, waits = self._byte, self._waits
        if self._new:
            self._clock = max(self._asked("forget", [self._lesson.number] * len(self._shards)))
        if self._new or fresh:
            self._take(self._exchange([None] * len(self._shards)))
            self._new = False
        loss, gradient = self._gradient(rows)
        if self._lesson.pace_s:
            time.sleep(self._lesson.pace_s)
        good = bool(np.isfinite(loss) and np.isfinite(gradient).all())
        if good:
            self._clock += 1
            self._take(self._exchange(list(np.array_split(gradient, len(self._shards)))))
        return Told(loss, self._byte - byte, time.process_time(), not good, self._waits > waits)

    def process(self) -> int:
        """The number of the process."""
        return os.getpid()

    def cpu_s(self) -> float:
        """The CPU seconds of the process."""
        return time.process_time()

    def buffers(self) -> list[np.ndarray]:
        """What the model remembers beside its weights, such as the statistics of batch norm."""
        return [each.numpy() for each in self._model.buffers()]

    def _gradient(self, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss on `rows` and its gradient, all parameters one after another (N,), held in bounds."""
        import torch

        batch = self._data.take(torch.from_numpy(rows.copy()))
        for each in self._weights:
            each.grad = None
        with self._precision.products():
            out = self._model(batch.x)
        loss = self._objective.mixed(out.float(), batch)
        loss.backward()
        hold_gradients(self._weights, self._lesson.settings.regular)
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in self._weights]
        return float(loss.detach()), torch.cat([each.reshape(-1) for each in parts]).numpy()

    def _take(self, pieces: Sequence[np.ndarray]) -> None:
        import torch

        flat = torch.from_numpy(np.concatenate(pieces))
        with torch.no_grad():
            for each, part in zip(self._weights, flat.split([each.numel() for each in self._weights]), strict=True):
                each.copy_(part.view_as(each))

    def _exchange(self, gradients: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Hand each shard its part; the weights of all. What a lost shard did not take is sent again."""
        pushes = [Push(self._lesson.number, self._clock, each) for each in gradients]
        pieces = self._asked("exchange", pushes)
        sent = sum(each.nbytes for each in gradients if each is not None)
        self._byte += sent + sum(each.nbytes for each in pieces)
        return pieces

    def _asked(self, verb: str, words: Sequence[Any]) -> list[Any]:
        """What every shard answers to its word; a shard that was lost is asked again when it is back."""
        calls = [getattr(shard, verb).remote(word) for shard, word in zip(self._shards, words, strict=True)]
        return [self._answer(call, verb, i, words[i]) for i, call in enumerate(calls)]

    def _answer(self, call: Any, verb: str, shard: int, word: Any) -> Any:
        def again() -> Any:
            self._waits += 1
            return getattr(self._shards[shard], verb).remote(word)

        return answered(call, again, f"shard {shard}")


def answered(call: Any, again: Callable[[], Any], who: str) -> Any:
    """The answer of an actor; while it is being started again after a loss, ask `again`.

    Raises `PennyweightError` if it does not come back within two minutes.
    """
    import ray

    end = time.monotonic() + _PATIENCE_S
    while True:
        with contextlib.suppress(ray.exceptions.ActorUnavailableError, ray.exceptions.ActorDiedError):
            return ray.get(call)
        if time.monotonic() > end:
            raise PennyweightError(f"The parameter server's {who} did not come back.", "see that there is memory.")
        time.sleep(_RETRY_S)
        call = again()
