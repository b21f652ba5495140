"""How to train beyond the spec: the seed, a teacher, who watches, who judges, who trains along, where state is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.core import Task
from pennyweight.train.team import Alone, Team

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor, nn

    from pennyweight.train.checkpoint import Checkpoints
    from pennyweight.train.clock import Clock


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training is: `step` of `steps` is done, `rows` rows were seen, `score` is the last validation loss.

    `quality` is what the judge said last, after step `judged`; None before the first time.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    rows: int
    score: float | None = None
    quality: float | None = None
    judged: int = 0


@dataclass(frozen=True, slots=True)
class Judge:
    """Who says how good the model is while it is trained: after every epoch and, between, every `every_s` seconds.

    `quality` is given the model in evaluation mode, with its averaged weights if an average is kept. Between epochs
    judging takes at most the share `most` of the time. Judging changes nothing of what is trained.
    """

    quality: Callable[[nn.Module], float]
    every_s: float = math.inf
    most: float = 0.05


@dataclass(frozen=True, slots=True)
class How:
    """How to train, beyond the spec: the seed, the task, a teacher, who watches, what changes batches.

    `teacher_logits` are the teacher's raw answers, row by row those of the data; they decide the share `mix` of the
    loss, at `temperature`. Where they are too many to be held, `teacher` is asked for those of every batch's inputs
    (not by asynchronous workers). `watch` is told after every step and returns False to stop. `augment` turns the
    inputs and labels of a batch into others; what it draws from torch's own generator is repeated by the seed and by a
    resumed run. `after_step` is called with the model after each change of its weights. `judge` says how good the model
    is, `team` are the workers that train together, `clock` is told what the time went into, and `checkpoints` is where
    the state is kept and found again.
    """

    seed: int = 0
    task: Task = Task.CLASSIFY
    teacher_logits: np.ndarray | None = None
    teacher: Callable[[Tensor], Tensor] | None = None
    temperature: float = 2.0
    mix: float = 0.5
    watch: Callable[[Progress], bool] | None = None
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    after_step: Callable[[nn.Module], None] | None = None
    judge: Judge | None = None
    team: Team = field(default_factory=Alone)
    clock: Clock | None = None
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, in evaluation mode; `epochs` and `rows` say how much training it really took.

    `history` is the mean training loss of each epoch, `scores` the validation loss after each, if some data was held
    back; `stopped` says that the watcher ended it; `resumed` is the step a kept state went on from, 0 if there was
    none. `sent_byte` is what asynchronous workers and their server have sent; other teams count it on their wires.
    """

    model: nn.Module
    epochs: float
    rows: int
    history: tuple[float, ...]
    scores: tuple[float, ...] = ()
    stopped: bool = False
    resumed: int = 0
    sent_byte: float = 0.0
