"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.errors import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from pennyweight.core import TrainSpec

OPTIMIZERS = ("adam", "adamw", "muon", "sgd")
SCHEDULES = ("constant", "cosine", "onecycle")
_MOMENTUM = 0.9
_WARM_SHARE = 0.25


class Stepper:
    """The optimisers of one model and their schedules, stepped together."""

    def __init__(self, optimizers: Sequence[Optimizer], schedulers: Sequence[LRScheduler]) -> None:
        self._optimizers = tuple(optimizers)
        self._schedulers = tuple(schedulers)

    def zero(self) -> None:
        """Forget the gradients."""
        for each in self._optimizers:
            each.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Change the weights once, then the learning rate."""
        for each in self._optimizers:
            each.step()
        for scheduler in self._schedulers:
            scheduler.step()

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizers[0].param_groups[0]["lr"])


def stepper(model: nn.Module, settings: TrainSpec, steps: int) -> Stepper:
    """The optimiser and the schedule that `settings` name, for `steps` steps in all.

    "sgd" has momentum 0.9; "muon" changes the hidden matrices and leaves the rest to AdamW, as its authors do.
    """
    if settings.optimizer not in OPTIMIZERS:
        raise UnknownNameError.of("optimizer", settings.optimizer, OPTIMIZERS)
    if settings.schedule not in SCHEDULES:
        raise UnknownNameError.of("schedule", settings.schedule, SCHEDULES)
    optimizers = _optimizers(model, settings)
    rates = [_schedule(each, settings, steps) for each in optimizers]
    return Stepper(optimizers, [rate for rate in rates if rate is not None])


def _optimizers(model: nn.Module, settings: TrainSpec) -> list[Optimizer]:
    from torch import optim

    weights = [each for each in model.parameters() if each.requires_grad]
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return [optim.SGD(weights, momentum=_MOMENTUM, fused=True, **common)]
    if settings.optimizer == "adam":
        return [optim.Adam(weights, fused=True, **common)]
    if settings.optimizer == "adamw":
        return [optim.AdamW(weights, fused=True, **common)]
    if not hasattr(optim, "Muon"):
        raise MissingExtraError.of("torch 2.9 or newer, for Muon", "torch")
    return _muon(model, common)


def _muon(model: nn.Module, common: dict[str, Any]) -> list[Optimizer]:
    from torch import nn, optim

    hidden = {id(each.weight): each.weight for each in model.modules() if isinstance(each, nn.Linear)}
    matrices = [each for each in hidden.values() if each.requires_grad]
    rest = [each for each in model.parameters() if each.requires_grad and id(each) not in hidden]
    optimizers: list[Optimizer] = []
    if matrices:
        optimizers.append(optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **common))
    if rest:
        optimizers.append(optim.AdamW(rest, fused=True, **common))
    return optimizers


def _schedule(optimizer: Optimizer, settings: TrainSpec, steps: int) -> LRScheduler | None:
    from torch.optim import lr_scheduler

    if settings.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
    if settings.schedule == "onecycle":
        # One step more than is taken, since torch refuses the step after the last; a rise of one step divides by zero.
        total = max(steps + 1, 3)
        warm_share = max(2, round(_WARM_SHARE * total)) / total
        return lr_scheduler.OneCycleLR(
            optimizer, settings.lr, total_steps=total, pct_start=warm_share, cycle_momentum=False
        )
    return None
