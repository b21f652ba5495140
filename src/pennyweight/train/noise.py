"""The gradient noise scale: up to which batch size more rows per step still pay."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError
from pennyweight.train.how import How
from pennyweight.train.objective import Objective
from pennyweight.train.rows import tensors

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.train.objective import Batch


@dataclass(frozen=True, slots=True)
class Noise:
    """`rows` is the noise scale: much smaller batches are mostly noise, much larger ones mostly repeat themselves.

    `signal` is the squared norm of the true gradient, `scatter` the trace of the covariance of one row's.
    """

    rows: float
    signal: float
    scatter: float

    def steps(self, batch: float) -> float:
        """How many times the steps of an endless batch training takes (McCandlish et al. 2018, equation 2.7)."""
        return 1 + self.rows / batch


def noise_from(small: tuple[float, float], large: tuple[float, float]) -> Noise:
    """The noise scale from mean squared gradient norms at two batch sizes: (rows, squared norm) of each.

    A mean over B rows has the expected squared norm |G|² + tr(Σ)/B; two sizes give both unknowns, and tr(Σ)/|G|² is the
    noise scale (McCandlish, Kaplan, Amodei et al. 2018, "An Empirical Model of Large-Batch Training", appendix A). It
    is endless where no signal is left.
    """
    (few, short), (many, long) = sorted((small, large))
    if not 0 < few < many:
        raise BadInputError("The noise scale needs two batch sizes.", "give a small and a larger one.")
    signal = (many * long - few * short) / (many - few)
    scatter = max(0.0, (short - long) / (1 / few - 1 / many))
    return Noise(scatter / signal if signal > 0 else math.inf, max(0.0, signal), scatter)


def noise_scale(
    model: nn.Module, data: Any, *, sizes: tuple[int, int] = (16, 256), repeats: int = 16, how: How | None = None
) -> Noise:
    """Measure the noise scale of `model` as it is now on rows of `data`; the model is left as it was.

    `repeats` batches of the larger size are drawn; each is also cut into batches of the smaller one, of which as many
    are used.
    """
    import torch

    how = how or How()
    model = copy.deepcopy(model).train()
    rows = tensors(model, data, how.task, how.teacher_logits)
    few, many = sizes[0], min(sizes[1], len(rows))
    objective = Objective(how.task, how.temperature, how.mix)
    sums = [0.0, 0.0]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(how.seed)
        for _ in range(repeats):
            order = torch.randperm(len(rows))
            sums[0] += _squared(model, objective, rows.take(order[:few]))
            sums[1] += _squared(model, objective, rows.take(order[-many:]))
    return noise_from((few, sums[0] / repeats), (many, sums[1] / repeats))


def _squared(model: nn.Module, objective: Objective, batch: Batch) -> float:
    """The squared norm of the gradient on a batch."""
    import torch

    model.zero_grad(set_to_none=True)
    objective.mixed(model(batch.x).float(), batch).backward()
    grads = [each.grad for each in model.parameters() if each.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads).square())
