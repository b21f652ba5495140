"""Learning-rate schedules by name, and the stepper that moves weights and rate together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.train.optimizers import optimizers
from pennyweight.train.parts import parted
from pennyweight.train.uncompiled import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from pennyweight.core import TrainSpec

SCHEDULES = ("constant", "cosine", "onecycle", "wsd")
_WARM_SHARE = 0.25  # of one cycle, where nothing else is asked for
_START, _END = 1 / 25, 1 / 250_000  # of one cycle: the first and the last rate, as a share of the highest
_DECAY_SHARE = 0.2  # of warm-up, stable, decay


@final
class Stepper:
    """The optimisers of one model, stepped together, with the learning rate of every step."""

    def __init__(self, optimizers: Sequence[Optimizer], settings: TrainSpec, steps: int) -> None:
        self.optimizers = tuple(optimizers)
        self._settings, self._steps = settings, steps
        self._at = 0
        self._set()

    def zero(self) -> None:
        """Forget the gradients."""
        for each in self.optimizers:
            each.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Change the weights once, then the learning rate."""
        for each in self.optimizers:
            step(each)
        self.advance()

    def advance(self) -> None:
        """Set the learning rate of the next step; for whoever steps the optimisers himself."""
        self._at += 1
        self._set()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on."""
        return {"at": self._at, "optimizers": [each.state_dict() for each in self.optimizers]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for each, kept in zip(self.optimizers, state["optimizers"], strict=True):
            each.load_state_dict(_parted(kept, each))
        self._at = state["at"]
        self._set()

    def _set(self) -> None:
        lr = self._settings.lr * rate(self._settings, self._at, self._steps)
        for each in self.optimizers:
            for group in each.param_groups:
                group["lr"] = lr


def _parted(kept: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The kept state of an optimiser; what is as large as a weight in the parts that the weight has."""
    weights = [each for group in optimizer.param_groups for each in group["params"]]
    state = {
        at: {name: parted(x, weights[at]) if _is_like(x, weights[at]) else x for name, x in its.items()}
        for at, its in kept["state"].items()
    }
    return {**kept, "state": state}


def _is_like(value: Any, weight: Tensor) -> bool:
    return bool(getattr(value, "shape", None) == weight.shape)


def stepper(model: nn.Module, settings: TrainSpec, steps: int) -> Stepper:
    """The optimiser and the schedule that `settings` name, for `steps` changes of the weights in all."""
    if settings.schedule not in SCHEDULES:
        raise UnknownNameError.of("schedule", settings.schedule, SCHEDULES)
    if not 0 <= settings.warmup < 1:
        raise BadInputError(
            f"A warm-up of {settings.warmup:g} is no share of the steps.", "give at least 0 and less than 1."
        )
    return Stepper(optimizers(model, settings), settings, steps)


def rate(settings: TrainSpec, at: int, steps: int) -> float:
    """The learning rate of step `at` (from 0) of `steps`, as a share of the one asked for.

    "cosine" falls from one to zero along half a wave (Loshchilov and Hutter 2017). "onecycle" climbs along half a wave
    for a quarter of the steps, or the share `warmup`, and falls along another (Smith and Topin 2018, with two phases).
    "wsd" stays, and falls in the last fifth by one minus the root of its share (Hägele et al. 2024). In the share
    `warmup` of the steps the rate climbs in a straight line.
    """
    if settings.schedule == "onecycle":
        return _one_cycle(at, steps, settings.warmup or _WARM_SHARE)
    warm = round(settings.warmup * steps)
    if at < warm:
        return (at + 1) / (warm + 1)
    if settings.schedule == "cosine":
        return _wave(1.0, 0.0, min(1.0, (at - warm) / max(1, steps - warm)))
    if settings.schedule == "wsd":
        decay = max(1, round(_DECAY_SHARE * steps))
        return 1 - math.sqrt(min(1.0, max(0, at - (steps - decay) + 1) / (decay + 1)))
    return 1.0


def _one_cycle(at: int, steps: int, share: float) -> float:
    total = max(steps + 1, 3)
    top = max(2, round(share * total)) - 1  # the step of the highest rate, never the first
    if at <= top:
        return _wave(_START, 1.0, at / top)
    return _wave(1.0, _END, min(1.0, (at - top) / max(1, total - 1 - top)))


def _wave(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
