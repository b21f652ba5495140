"""Training a part of a pretrained network: what keeps its weights, and the adapters that are merged in the end."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from pennyweight.core import TrainSpec

_NUMBERED = re.compile(r"_\d+$")
_ALPHA = 2.0  # times the rank: the weight of an adapter's answer, as its authors' own language models have it


def only_part(model: nn.Module, settings: TrainSpec) -> nn.Module:
    """`model`, of which only what `settings.learns` names (or an adapter of rank `settings.adapt`) learns from now on.

    It is changed in place; without names it is left as it is. Batch norms that do not learn keep their statistics.
    Raises `BadInputError` if a name stands for no layer of the model.
    """
    if not settings.learns:
        return model
    from torch import nn

    learning = _called(model, settings.learns)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in learning or name.rpartition(".")[0] in learning:
            parameter.requires_grad_(True)
    if settings.adapt:
        model = _adapted(model, settings)
    norms = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d)  # ruff: ignore[private-member-access] - their base has no public name
    for name, module in model.named_modules():
        if isinstance(module, norms) and name not in learning:
            module.register_forward_pre_hook(_still)
    return model


def whole_again(model: nn.Module, settings: TrainSpec) -> nn.Module:
    """`model` as it was before `only_part`: adapters are added to the weights they stand beside, all may learn."""
    if not settings.learns:
        return model
    for name, adapter in list(_adapters(model)):
        adapter.merge()
        model.set_submodule(name, adapter.get_base_layer())
    for module in model.modules():
        kept = [key for key, hook in module._forward_pre_hooks.items() if hook is _still]  # ruff: ignore[private-member-access] - there is no other way to find a hook again
        for key in kept:
            del module._forward_pre_hooks[key]  # ruff: ignore[private-member-access] - as above
    return model.requires_grad_(True)


def adaptable(model: nn.Module, settings: TrainSpec) -> list[str]:
    """The layers of `model` that take an adapter under these settings, by name."""
    learning = _called(model, settings.learns)
    return [name for name, each in model.named_modules() if name not in learning and _worth(each, settings.adapt)]


def _called(model: nn.Module, names: Iterable[str]) -> set[str]:
    """The layers and parameters that rows of the operator table are called after; see `torch_weights.matrices`."""
    real = {name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))}
    real |= {name for name, _ in model.named_parameters()}
    found: set[str] = set()
    for name in names:
        pattern = re.escape(name).replace(r"\*", r"\d+")
        mine = {each for each in real if re.fullmatch(pattern, each)} or {_NUMBERED.sub("", name)} & real
        if not mine:
            raise BadInputError(
                f"The network has no weights called {name!r} that could learn.",
                "take names from the table of pennyweight count RECIPE.",
            )
        found |= mine
    return found


def _adapted(model: nn.Module, settings: TrainSpec) -> nn.Module:
    """`model` with adapters of PEFT beside every matrix that does not learn and that they make cheaper to train."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError.of("peft", "transfer") from None
    rank, targets = settings.adapt, adaptable(model, settings)
    if not targets:
        raise BadInputError(
            f"No matrix of the network is large enough for an adapter of rank {rank}.", "give a lower rank, or 0."
        )
    learning = {id(each) for each in model.parameters() if each.requires_grad}
    pattern = "|".join(map(re.escape, targets))
    config = LoraConfig(r=rank, lora_alpha=_ALPHA * rank, lora_dropout=0.0, target_modules=pattern)
    adapted: nn.Module = inject_adapter_in_model(config, model)
    for name, each in adapted.named_parameters():
        each.requires_grad_(id(each) in learning or ".lora_" in name)
    return adapted


def _worth(module: nn.Module, rank: int) -> bool:
    """Whether an adapter is cheaper to train than the layer; the rule of `cost.partly.takes_adapter` on real layers."""
    from torch import nn

    if type(module) is nn.Linear:
        n_in, n_out, fan = module.in_features, module.out_features, 1
    elif type(module) in {nn.Conv1d, nn.Conv2d, nn.Conv3d} and module.groups == 1:
        n_in, n_out, fan = module.in_channels, module.out_channels, math.prod(module.kernel_size)
    else:
        return False
    return bool(3 * rank * (n_in * fan + n_out) < n_in * n_out * fan)


def _adapters(model: nn.Module) -> Iterable[tuple[str, Any]]:
    return ((name, each) for name, each in model.named_modules() if hasattr(each, "lora_A") and hasattr(each, "merge"))


def _still(module: nn.Module, _inputs: Any) -> None:
    """Let a batch norm go by what it knew before, also while the rest of the network trains."""
    module.training = False
