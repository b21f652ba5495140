"""One worker: computes gradients on the rows it is given and trades them for weights with every shard."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.train.objective import Batch, Objective
from pennyweight.train.precision import Precision
from pennyweight.train.regular import hold_gradients, set_dropout
from pennyweight.train.server.hand import answer, spent_s
from pennyweight.train.server.shard import Push
from pennyweight.train.server.weights import fill, slices, trainable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from pennyweight.core import Task, TrainSpec


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
    """What one step came to: its loss, bytes both ways, CPU seconds of its process so far, what went wrong.

    `refused` says that its gradient was no number and was not handed over; `lost` that a shard did not answer, and that
    the step has to be called for again, with the same rows, to end it.
    """

    loss: float
    byte: int
    cpu_s: float
    refused: bool = False
    lost: bool = False


@final
class Worker:
    """Holds a copy of `model` and all rows (x, y, weight, teacher), and talks to `shards`, processes of Ray."""

    def __init__(
        self, lesson: Lesson, model: nn.Module, arrays: Sequence[np.ndarray | None], shards: Sequence[Any]
    ) -> None:
        import torch

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
        self._weights = trainable(model)
        self._clock = self._byte = 0
        self._new = True
        self._ready: tuple[float, np.ndarray] | None = None  # loss and gradient, not taken by every shard yet
        model.train()

    def meet(self, shards: Sequence[Any]) -> None:
        """Talk to these shards from now on."""
        self._shards = tuple(shards)

    def step(self, rows: np.ndarray, *, fresh: bool) -> Told:
        """Compute the gradient on `rows` and hand it over; `fresh` reads the weights first, which others changed.

        If a shard is lost the gradient waits for the next call, and is not computed again.
        """
        import ray

        try:
            loss, good = self._step(rows, fresh=fresh)
        except (ray.exceptions.ActorDiedError, ray.exceptions.ActorUnavailableError):
            return Told(np.nan, 0, spent_s(), lost=True)
        byte, self._byte = self._byte, 0
        return Told(loss, byte, spent_s(), refused=not good)

    def _step(self, rows: np.ndarray, *, fresh: bool) -> tuple[float, bool]:
        if self._ready is None:
            if self._new:
                self._clock = max(self._asked("forget", [self._lesson.number] * len(self._shards)))
            if self._new or fresh:
                self._take(self._exchange([None] * len(self._shards)))
                self._new = False
            loss, gradient = self._gradient(rows)
            if self._lesson.pace_s:
                time.sleep(self._lesson.pace_s)
            if not (np.isfinite(loss) and np.isfinite(gradient).all()):
                return loss, False
            self._clock += 1
            self._ready = loss, gradient
        loss, gradient = self._ready
        self._take(self._exchange(slices(gradient, len(self._shards))))
        self._ready = None
        return loss, True

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
        fill(self._weights, np.concatenate(pieces))

    def _exchange(self, gradients: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Hand each shard its part, which it takes once however often it comes; the weights of all."""
        pieces = self._asked("exchange", [Push(self._lesson.number, self._clock, each) for each in gradients])
        sent = sum(each.nbytes for each in gradients if each is not None)
        self._byte += sent + sum(each.nbytes for each in pieces)
        return pieces

    def _asked(self, verb: str, words: Sequence[Any]) -> list[Any]:
        """What every shard answers to its word."""
        calls = [shard.do.remote(verb, word) for shard, word in zip(self._shards, words, strict=True)]
        return [answer(call) for call in calls]
