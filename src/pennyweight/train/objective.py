"""What training makes small: the loss of a task, mixed with a teacher's answers where there is a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

_EVALUATE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Objective:
    """Cross-entropy (classes, tokens) or squared error (values), and the share `mix` of it a teacher decides.

    With a teacher the loss is ``mix * T² * KL(teacher/T || student/T) + (1 - mix) * hard`` (Hinton, Vinyals and Dean,
    2015: T² keeps the gradients of both parts on one scale); for values it is the squared error to the teacher's.
    While training, the share `smoothing` of each label is spread over all classes (Szegedy et al. 2016).
    """

    task: Task
    temperature: float = 2.0
    mix: float = 0.5
    smoothing: float = 0.0

    def hard(self, out: Tensor, y: Tensor, weight: Tensor | None = None, *, smoothing: float = 0.0) -> Tensor:
        """The mean loss of `out` against the labels `y`, each row counted `weight` (B,) times."""
        from torch.nn import functional

        if self.task is Task.REGRESS:
            losses = (out.reshape(y.shape) - y).square()
            return losses.mean() if weight is None else (losses.reshape(len(y), -1).mean(1) * weight).mean()
        if self.task is Task.LANGUAGE:
            out, tokens = out.flatten(0, 1), y.flatten()
            if weight is None:
                return functional.cross_entropy(out, tokens, label_smoothing=smoothing)
            each = functional.cross_entropy(out, tokens, reduction="none", label_smoothing=smoothing)
            return (each.view(y.shape).sum(1) / (y >= 0).sum(1) * weight).mean()
        if weight is None:
            return functional.cross_entropy(out, y, label_smoothing=smoothing)
        return (functional.cross_entropy(out, y, reduction="none", label_smoothing=smoothing) * weight).mean()

    def soft(self, out: Tensor, teacher: Tensor) -> Tensor:
        """The mean loss of `out` against the teacher's raw answers, of the same shape."""
        from torch.nn import functional

        if self.task is Task.REGRESS:
            return functional.mse_loss(out.reshape(teacher.shape), teacher)
        heat = self.temperature
        ours = functional.log_softmax(out / heat, dim=-1).flatten(0, -2)
        theirs = functional.log_softmax(teacher / heat, dim=-1).flatten(0, -2)
        return heat**2 * functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)

    def mixed(self, out: Tensor, batch: Batch) -> Tensor:
        """The training loss of one batch."""
        if batch.teacher is None:
            return self.hard(out, batch.y, batch.weight, smoothing=self.smoothing)
        soft = self.soft(*self._real(out, batch.teacher, batch.y))
        if self.mix == 1:
            return soft
        return self.mix * soft + (1 - self.mix) * self.hard(out, batch.y, batch.weight, smoothing=self.smoothing)

    def _real(self, out: Tensor, teacher: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Both answers without those after padding."""
        real = y >= 0
        if self.task is not Task.LANGUAGE or bool(real.all()):
            return out, teacher
        return out[real], teacher[real]

    def of(self, model: nn.Module, rows: Batch) -> float:
        """The mean loss on `rows` of a model in evaluation mode."""
        import torch

        total = 0.0
        for at in range(0, len(rows), _EVALUATE_ROWS):
            part = rows.take(torch.arange(at, min(at + _EVALUATE_ROWS, len(rows))))
            total += float(self.hard(model(*part.given), part.y, part.weight)) * len(part)
        return total / len(rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as tensors: inputs, labels, and, where they exist, row weights and the teacher's raw answers.

    `texts` (B, T) numbers the texts that share a row, for each of its tokens.
    """

    x: Tensor
    y: Tensor
    weight: Tensor | None = None
    teacher: Tensor | None = None
    texts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What a model is called with: the inputs, and which texts they belong to where several share a row."""
        return (self.x,) if self.texts is None else (self.x, self.texts)

    def take(self, rows: Tensor) -> Batch:
        """The given rows."""
        parts = (self.x, self.y, self.weight, self.teacher, self.texts)
        return Batch(*(None if part is None else part.index_select(0, rows) for part in parts))
