"""Optimisers by name: torch's own where it has them and they are fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.errors import UnknownNameError
from pennyweight.train.parts import is_part
from pennyweight.train.uncompiled import uncompiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from pennyweight.core import TrainSpec

OPTIMIZERS = ("adagrad", "adam", "adamw", "lamb", "muon", "nadam", "radam", "rmsprop", "sgd")


def optimizers(model: nn.Module, settings: TrainSpec) -> list[Optimizer]:
    """The optimisers of the trainable weights of `model`, as `settings` name them.

    "sgd" takes `momentum` and `nesterov` from the settings, the others have their authors' constants; "muon" changes
    the hidden matrices and leaves the rest to AdamW, as its authors do. Raises `UnknownNameError` for another name.
    """
    from torch import optim

    if settings.optimizer not in OPTIMIZERS:
        raise UnknownNameError.of("optimizer", settings.optimizer, OPTIMIZERS)
    uncompiled()
    weights = [each for each in model.parameters() if each.requires_grad]
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    fast = {"fused" if _fuses(weights, settings) else "foreach": True}
    if settings.optimizer == "muon":
        return _muon(model, common)
    if settings.optimizer == "lamb":
        from pennyweight.train.lamb import Lamb

        return [Lamb(weights, **common)]
    if settings.optimizer == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return [optim.SGD(weights, momentum=settings.momentum, nesterov=nesterov, **fast, **common)]
    kinds = {
        "adam": (optim.Adam, {"fused": True}),
        "adamw": (optim.AdamW, {"fused": True}),
        "adagrad": (optim.Adagrad, fast),
        "nadam": (optim.NAdam, {"foreach": True}),
        "radam": (optim.RAdam, {"foreach": True}),
        "rmsprop": (optim.RMSprop, {"foreach": True}),
    }
    kind, way = kinds[settings.optimizer]
    return [kind(weights, **way, **common)]


def _fuses(weights: Sequence[Tensor], settings: TrainSpec) -> bool:
    """Whether steps can be taken in one call.

    PyTorch has none for weights in shards, and its SGD's momentum begins with whatever is in memory where the first
    step is left out, as it often is in float16 (2.13).
    """
    whole = not any(map(is_part, weights))
    return whole and not (settings.optimizer == "sgd" and settings.precision == "float16")


def _muon(model: nn.Module, common: dict[str, Any]) -> list[Optimizer]:
    from torch import nn, optim

    from pennyweight.train.muon import Muon

    hidden = {id(each.weight): each.weight for each in model.modules() if isinstance(each, nn.Linear)}
    matrices = [each for each in hidden.values() if each.requires_grad]
    rest = [each for each in model.parameters() if each.requires_grad and id(each) not in hidden]
    found: list[Optimizer] = []
    if matrices:
        found.append(Muon(matrices, **common))
    if rest:
        found.append(optim.AdamW(rest, fused=True, **common))
    return found
