"""The training loop for torch modules: fast on a CPU, reproducible by a seed, and able to learn from a teacher."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task, TrainSpec
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.rows import held_back, tensors, try_out
from pennyweight.train.schedule import Stepper, stepper

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

_PRECISIONS = ("bfloat16", "float32")
_EVALUATE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training is: `step` of `steps` is done, `rows` rows were seen, `score` is the last validation loss."""

    epoch: int
    step: int
    steps: int
    loss: float
    rows: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How to train, beyond the spec: the seed, the task, a teacher, who watches, what changes batches.

    `teacher_logits` are the teacher's raw answers, row by row those of the data; they decide the share `mix` of the
    loss, at `temperature`. `watch` is told after every step and returns False to stop. `augment` turns the inputs and
    labels of a batch into others. `after_step` is called with the model after each change of its weights.
    """

    seed: int = 0
    task: Task = Task.CLASSIFY
    teacher_logits: np.ndarray | None = None
    temperature: float = 2.0
    mix: float = 0.5
    watch: Callable[[Progress], bool] | None = None
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    after_step: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, in evaluation mode; `epochs` and `rows` say how much training it really took.

    `history` is the mean training loss of each epoch, `scores` the validation loss after each, if some data was held
    back; `stopped` says that the watcher ended it.
    """

    model: nn.Module
    epochs: float
    rows: int
    history: tuple[float, ...]
    scores: tuple[float, ...] = ()
    stopped: bool = False


def fit(model: nn.Module, data: Any, settings: TrainSpec, *, how: How | None = None) -> Trained:
    """Train a deep copy of `model` on the rows of `data` (x, y and, if it has one, weight).

    With `settings.patience`, a tenth of the rows (of every class; whole groups where there are groups) is held back,
    the loss on it is taken after each epoch, training stops after that many epochs without a better one, and the best
    weights are kept. Equal seeds give equal weights, bit by bit, for an equal number of threads. Raises
    `BadInputError` for data that does not fit the model and `PennyweightError` for a loss that is no number.
    """
    import torch

    how = how or How()
    model = copy.deepcopy(model)
    batch = tensors(model, data, how.task, how.teacher_logits)
    _check(len(batch), settings, how)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(how.seed)
        try_out(model, batch, how.task)
        held = held_back(data, how.task, how.seed) if settings.patience is not None else np.empty(0, dtype=np.int64)
        kept = np.setdiff1d(np.arange(len(batch)), held)
        train, hold = batch.take(torch.from_numpy(kept)), batch.take(torch.from_numpy(held))
        return _Training(model, train, hold, settings, how).run()


@dataclass
class _Training:
    """The changing state of one training."""

    model: nn.Module
    data: Batch
    held: Batch
    settings: TrainSpec
    how: How
    rows: int = 0
    step: int = 0
    history: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    def __post_init__(self) -> None:
        import torch

        self.objective = Objective(self.how.task, self.how.temperature, self.how.mix)
        self.shuffle = torch.Generator().manual_seed(self.how.seed)
        self.bounds = _bounds(len(self.data), self.settings.batch, alone=not _has_batch_norm(self.model))
        self.steps = max(1, round(self.settings.epochs * len(self.bounds)))

    def run(self) -> Trained:
        rule = stepper(self.model, self.settings, self.steps)
        self.model.train()
        going = True
        while going and self.step < self.steps:
            going = self._epoch(rule) and not self._tired()
        if self.best is not None:
            self.model.load_state_dict(self.best)
        self.model.eval()
        stopped = not going and not self._tired() and self.step < self.steps
        epochs = self.rows / len(self.data)
        return Trained(self.model, epochs, self.rows, tuple(self.history), tuple(self.scores), stopped)

    def _epoch(self, rule: Stepper) -> bool:
        import torch

        order = torch.randperm(len(self.data), generator=self.shuffle)
        total, seen, going = 0.0, 0, True
        for start, stop in self.bounds[: self.steps - self.step]:
            batch = self._augmented(self.data.take(order[start:stop]))
            loss = self._update(rule, batch)
            total, seen = total + loss * len(batch), seen + len(batch)
            if not self._tell(loss):
                going = False
                break
        self.history.append(total / seen)
        if len(self.held):
            self._validate()
        return going

    def _update(self, rule: Stepper, batch: Batch) -> float:
        rule.zero()
        loss = self.objective.mixed(self._answer(batch), batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PennyweightError(
                f"The training loss is {value:g} after {self.step} steps.",
                f"lower the learning rate (it is {rule.lr:g}), or look for extreme values in the data.",
            )
        loss.backward()
        rule.step()
        if self.how.after_step is not None:
            self.how.after_step(self.model)
        self.step, self.rows = self.step + 1, self.rows + len(batch)
        return value

    def _answer(self, batch: Batch) -> Any:
        import torch

        # Only products run in bfloat16; weights, loss and everything that adds up stay in float32.
        low = torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bfloat16")
        try:
            with low:
                out = self.model(batch.x)
            return out.float()
        except ValueError as error:  # batch norm has nothing to normalise in a batch of one value per channel
            raise BadInputError(
                f"The model cannot be trained on a batch of {len(batch)}: {error}.", "use a larger batch."
            ) from error

    def _augmented(self, batch: Batch) -> Batch:
        if self.how.augment is None:
            return batch
        x, y = self.how.augment(batch.x, batch.y)
        return Batch(x, y, batch.weight, batch.teacher)

    def _tell(self, loss: float) -> bool:
        if self.how.watch is None:
            return True
        epoch = (self.step - 1) // len(self.bounds) + 1
        score = self.scores[-1] if self.scores else None
        return self.how.watch(Progress(epoch, self.step, self.steps, loss, self.rows, score))

    def _validate(self) -> None:
        import torch

        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for at in range(0, len(self.held), _EVALUATE_ROWS):
                part = self.held.take(torch.arange(at, min(at + _EVALUATE_ROWS, len(self.held))))
                total += float(self.objective.hard(self.model(part.x), part.y, part.weight)) * len(part)
        self.model.train()
        self.scores.append(total / len(self.held))
        if self.scores[-1] <= min(self.scores):
            self.best = {name: each.detach().clone() for name, each in self.model.state_dict().items()}

    def _tired(self) -> bool:
        if self.settings.patience is None or not self.scores:
            return False
        since_best = len(self.scores) - 1 - int(np.argmin(self.scores))
        return since_best >= max(1, self.settings.patience)


def _bounds(rows: int, batch: int, *, alone: bool) -> list[tuple[int, int]]:
    """First and last row of each batch; the last may be short, but is not one row where it may not stand `alone`."""
    starts = list(range(0, rows, batch))
    if not alone and len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


def _has_batch_norm(model: nn.Module) -> bool:
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return any(isinstance(each, kinds) for each in model.modules())


def _check(rows: int, settings: TrainSpec, how: How) -> None:
    if rows < 2:
        raise BadInputError(f"There are {rows} rows to train on.", "give at least two.")
    if settings.batch < 1 or not settings.epochs > 0:
        raise BadInputError(
            f"Training for {settings.epochs:g} epochs in batches of {settings.batch} cannot be done.",
            "use a batch of at least 1 and more than 0 epochs.",
        )
    if settings.precision not in _PRECISIONS:
        raise UnknownNameError.of("training precision", settings.precision, _PRECISIONS)
    if how.teacher_logits is not None and len(how.teacher_logits) != rows:
        raise BadInputError(
            f"The teacher answered {len(how.teacher_logits)} rows, but there are {rows}.",
            "let it answer the rows that are trained on, in their order.",
        )
