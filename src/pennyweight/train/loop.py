"""The training loop for torch modules: fast on a CPU, reproducible by a seed, and able to learn from a teacher."""

from __future__ import annotations

import copy
import math
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.train.clock import Clock, Part
from pennyweight.train.how import How, Judge, Progress, Trained
from pennyweight.train.keeping import Keeping
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.partly import only_part, whole_again
from pennyweight.train.passes import Passes
from pennyweight.train.place import Place, Resumable, Sitting
from pennyweight.train.precision import Precision
from pennyweight.train.recomputing import recomputing
from pennyweight.train.refusing import check
from pennyweight.train.regular import Average, hold_gradients, hold_weights, set_dropout
from pennyweight.train.rows import has_batch_norm, held_back, tensors, try_out
from pennyweight.train.schedule import stepper
from pennyweight.train.server.order import is_asynchronous
from pennyweight.train.server.run import train_served
from pennyweight.train.smaller import smaller
from pennyweight.train.teaching import taught
from pennyweight.train.team import Word

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import nn

    from pennyweight.core import TrainSpec

__all__ = ["How", "Judge", "Progress", "Trained", "fit"]

_APART = 1_000_003  # between the seeds of two workers


def fit(model: nn.Module, data: Any, settings: TrainSpec, *, how: How | None = None) -> Trained:
    """Train a deep copy of `model` on the rows of `data` (x, y and, if it has one, weight), as `settings` say.

    With `settings.patience`, a tenth of the rows (of every class; whole groups where there are groups) is held back,
    the loss on it is taken after each epoch, training stops after that many epochs without a better one, and the best
    weights are kept. With several workers, `settings.batch` is that of each. Equal seeds give equal weights, bit by
    bit, for an equal number of threads; so does a training that is cut off and goes on from its checkpoint. Raises
    `BadInputError` for data that does not fit the model and `PennyweightError` for a loss that is no number.
    """
    import torch

    how = how or How()
    model = copy.deepcopy(model)
    batch = tensors(model, data, how.task, how.teacher_logits)
    check(len(batch), settings, how)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(how.seed + _APART * how.team.rank)
        answers = try_out(model, batch, how.task)
        model = only_part(model, settings)
        if is_asynchronous(settings.team):
            return train_served(model, batch, settings, how).trained
        held = held_back(data, how.task, how.seed) if settings.patience is not None else np.empty(0, dtype=np.int64)
        kept = np.setdiff1d(np.arange(len(batch)), held)
        train, hold = batch.take(torch.from_numpy(kept)), batch.take(torch.from_numpy(held))
        train, how = taught(train, settings, how, answers)
        training = _Training(model, train, hold, settings, how)
        with recomputing(model, settings):
            return training.run()


@dataclass
class _Training:
    """The changing state of one training."""

    model: nn.Module
    data: Batch
    held: Batch
    settings: TrainSpec
    how: How
    place: Place = field(default_factory=Place)

    def __post_init__(self) -> None:
        regular, how = self.settings.regular, self.how
        self.clock = how.clock or Clock()
        self.objective = Objective(how.task, how.temperature, how.mix, regular.smoothing)
        self.precision = Precision(self.settings.precision)
        if regular.dropout:
            set_dropout(self.model, regular.dropout)
        self.passes = Passes.over(len(self.data), self.settings, how, alone=not has_batch_norm(self.model))
        self.net = how.team.wrap(self.model)
        self.rule = stepper(self.model, self.settings, self.passes.updates)
        self.average = Average(self.model, regular.ema) if regular.ema else None
        self.weights = [each for each in self.model.parameters() if each.requires_grad]
        self.sitting, self.looked_at = Sitting(how.judge), how.team.looks(wanted=how.judge is not None)
        parts: dict[str, Resumable | None] = {
            "place": self.place,
            "passes": self.passes,
            "rule": self.rule,
            "precision": self.precision,
            "average": self.average,
        }
        self.keeping = Keeping(self.model, self.settings, how, self.clock, len(self.data), parts)

    def run(self) -> Trained:
        team, keeping = self.how.team, self.keeping
        resumed = self.passes.step if keeping.resume() else 0
        self.net.train()
        word = Word.GO
        while word and self.passes.step < self.passes.steps and not self._tired():
            word = team.agree(going=self._step(), keep=keeping.due(self.place))
            if word is Word.KEEP:
                keeping.write()
        stopped = not word and self.passes.step < self.passes.steps and not self._tired()
        team.finish(self.model)
        if self.place.fresh:
            keeping.write()
        if self.passes.within:
            self._close()
        self._finish()
        epochs, place = self.place.rows / len(self.data), self.place
        return Trained(self.model, epochs, place.rows, tuple(place.history), tuple(place.scores), stopped, resumed)

    def _step(self) -> bool:
        """One mini-batch and all that is due after it; False to stop."""
        going = self._tell(self._batch())
        if self.passes.ended:
            self._close()
            return self._judged(going=going)
        looks = self.looked_at and self.how.team.looks(wanted=self.sitting.due())
        return self._judged(going=going) if looks else going

    def _batch(self) -> float:
        """Forward and backward, and a change of the weights after the last of the mini-batches that add up."""
        self.clock.begin()
        portion = self.passes.next()
        batch = self._told(smaller(self.data.take(portion.rows), self.settings, self.how.task, self.passes.done))
        self.clock.mark(Part.DATA)
        if self.place.fresh:
            self.rule.zero()
        with nullcontext() if portion.last else self._quietly():
            loss = self.objective.mixed(self._answer(batch), batch)
            value = self._finite(float(loss.detach()))
            self.clock.mark(Part.FORWARD)
            self.precision.backward(loss if portion.share == 1 else loss * portion.share)
        self.clock.mark(Part.BACKWARD)
        self.place.count(value, len(batch), fresh=portion.last)
        if portion.last:
            self._update()
        return value

    def _update(self) -> None:
        regular = self.settings.regular
        self.precision.step(self.rule, lambda: hold_gradients(self.weights, regular, self.how.team.norm))
        self.place.updates += 1
        if regular.max_norm:
            hold_weights(self.model, regular.max_norm)
        if self.how.after_step is not None:
            self.how.after_step(self.model)
        if self.average is not None:
            self.average.update()
        self.clock.mark(Part.OPTIMISER)
        self.how.team.after_step(self.model, self.place.updates)
        self.clock.mark(Part.COMMUNICATION)

    def _quietly(self) -> AbstractContextManager[Any]:
        """Where gradients only add up and need not be exchanged yet."""
        quiet: AbstractContextManager[Any] = getattr(self.net, "no_sync", nullcontext)()
        return quiet

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise PennyweightError(
                f"The training loss is {loss:g} after {self.passes.step - 1} steps.",
                f"lower the learning rate (it is {self.rule.lr:g}), or look for extreme values in the data.",
            )
        return loss

    def _answer(self, batch: Batch) -> Any:
        try:
            with self.precision.products():
                out = self.net(*batch.given)
            return out.float()
        except ValueError as error:  # batch norm has nothing to normalise in a batch of one value per channel
            raise BadInputError(
                f"The model cannot be trained on a batch of {len(batch)}: {error}.", "use a larger batch."
            ) from error

    def _told(self, batch: Batch) -> Batch:
        """The batch as it is learnt from, with what the teacher says of it if one is to be asked."""
        batch = self._augmented(batch)
        return batch if self.how.teacher is None else replace(batch, teacher=self.how.teacher(batch.x))

    def _augmented(self, batch: Batch) -> Batch:
        if self.how.augment is None:
            return batch
        x, y = self.how.augment(batch.x, batch.y)
        return replace(batch, x=x, y=y)

    def _tell(self, loss: float) -> bool:
        if self.how.watch is None:
            return True
        place, passes = self.place, self.passes
        score = place.scores[-1] if place.scores else None
        place.loss = loss
        return self.how.watch(
            Progress(passes.epoch, passes.step, passes.steps, loss, place.rows, score, place.quality, place.judged)
        )

    def _judged(self, *, going: bool) -> bool:
        """Ask the judge, if there is one, and tell what it said."""
        if not self.looked_at:
            return going
        with self.clock.aside(Part.EVALUATION), self.sitting, self._shown() as model:
            if self.how.judge is None:
                return going
            self.place.quality, self.place.judged = self.how.judge.quality(model), self.passes.step
        return self._tell(self.place.loss) and going

    @contextmanager
    def _shown(self) -> Generator[nn.Module]:
        """The model as it would be used: in evaluation mode, with averaged weights."""
        import torch

        with torch.no_grad(), nullcontext() if self.average is None else self.average.shown():
            yield self.how.team.shown(self.model).eval()
        self.model.train()

    def _close(self) -> None:
        """End the pass: its mean loss, and the loss on what is held back."""
        self.passes.close()
        place, team = self.place, self.how.team
        place.history.append(team.mean(place.total / place.seen))
        place.total, place.seen = 0.0, 0
        if len(self.held):
            with self.clock.aside(Part.EVALUATION), self._shown() as model:
                place.scores.append(team.mean(self.objective.of(model, self.held)))
                if place.scores[-1] <= min(place.scores):
                    place.best = {name: each.detach().clone() for name, each in self.model.state_dict().items()}

    def _tired(self) -> bool:
        scores = self.place.scores
        if self.settings.patience is None or not scores:
            return False
        return len(scores) - 1 - int(np.argmin(scores)) >= max(1, self.settings.patience)

    def _finish(self) -> None:
        """Give the model the weights that are kept in the end."""
        if self.place.best is not None:
            self.model.load_state_dict(self.place.best)
        elif self.average is not None:
            self.average.settle()
        self.model = whole_again(self.how.team.shown(self.model), self.settings).eval()
