"""The learning-rate range test: a short training with a rising rate, and the rate at which the loss falls fastest."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import PennyweightError
from pennyweight.train.how import How
from pennyweight.train.objective import Objective
from pennyweight.train.optimizers import optimizers
from pennyweight.train.rows import tensors, try_out

if TYPE_CHECKING:
    from torch import nn

    from pennyweight.core import TrainSpec

_SMOOTH = 0.9  # decay of the moving average of the losses by which a burst is told
_BURST = 3.0  # times the least loss ends the test
_LEAST = 10
_WINDOW = 15


@dataclass(frozen=True, slots=True)
class Rates:
    """What the test saw: the smoothed loss at each rate, the rate of the steepest fall and the last before it burst.

    `suggested` is the rate of the steepest fall, at most a third of the highest that still held.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float
    highest: float

    @property
    def suggested(self) -> float:
        """The rate to train with when it is constant."""
        return min(self.steepest, self.highest / 3)


def find_rate(
    model: nn.Module,
    data: Any,
    settings: TrainSpec,
    *,
    how: How | None = None,
    span: tuple[float, float, int] = (1e-6, 3.0, 120),
) -> Rates:
    """Train a copy of `model` while the rate rises from ``span[0]`` to ``span[1]`` in ``span[2]`` steps.

    Batch size and optimiser are those of `settings`; the given model keeps its weights. Smith 2015, "Cyclical Learning
    Rates for Training Neural Networks", with the rate rising by factors. Raises `PennyweightError` if the loss is no
    number even at the lowest rates.
    """
    import torch

    how = how or How()
    model = copy.deepcopy(model).train()
    rows = tensors(model, data, how.task, how.teacher_logits)
    try_out(model, rows, how.task)
    objective = Objective(how.task, how.temperature, how.mix, settings.regular.smoothing)
    rules = optimizers(model, replace(settings, lr=span[0]))
    rates = np.geomspace(*span)
    losses: list[float] = []
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(how.seed)
        mean, least = 0.0, math.inf
        for at, rate in enumerate(rates):
            batch = rows.take(torch.randperm(len(rows))[: settings.batch])
            for rule in rules:
                rule.zero_grad(set_to_none=True)
                for group in rule.param_groups:
                    group["lr"] = float(rate)
            loss = objective.mixed(model(batch.x).float(), batch)
            value = float(loss.detach())
            mean = _SMOOTH * mean + (1 - _SMOOTH) * value
            smooth = mean / (1 - _SMOOTH ** (at + 1))
            least = min(least, smooth)
            if not math.isfinite(value) or (at > _LEAST and smooth > _BURST * least):
                break
            losses.append(value)
            loss.backward()
            for rule in rules:
                rule.step()
    return _read(rates[: len(losses)], losses)


def _read(rates: np.ndarray, losses: list[float]) -> Rates:
    if len(losses) < _LEAST:
        raise PennyweightError(
            f"The loss is no number or bursts after {len(losses)} steps, even at the lowest learning rates.",
            "look for extreme values in the data, or lower the weights the model begins with.",
        )
    window = np.hanning(_WINDOW + 2)[1:-1]
    padded = np.pad(np.array(losses), _WINDOW // 2, mode="edge")
    smooth = np.convolve(padded, window / window.sum(), mode="valid")  # centred, so that no rate is blamed for another
    steps, best = np.gradient(smooth, np.log(rates)), int(np.argmin(smooth))
    steepest = int(np.argmin(steps[_LEAST // 2 : best + 1])) + _LEAST // 2 if best > _LEAST // 2 else best
    return Rates(tuple(rates.tolist()), tuple(smooth.tolist()), float(rates[steepest]), float(rates[best]))
