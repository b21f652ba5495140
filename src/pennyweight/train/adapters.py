"""Low-rank adapters beside the matrices of a language model as transformers has it, added to their weights in the end.

Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models (arXiv:2106.09685); the adapters are PEFT's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

_ALPHA = 2.0  # times the rank
_TURNED = "Conv1D"  # of transformers: a linear layer whose weight is (in, out)


def learning(model: Any, only: Sequence[str] = (), rank: int = 0) -> nn.Module:
    """`model`, in place, with what learns marked: weights whose name has one of `only` in it (none given: all).

    With a `rank`, an adapter learns in place of each such matrix of a linear layer (never of the head), and what is no
    matrix learns itself. Raises `BadInputError` if nothing would learn.
    """
    model.requires_grad_(requires_grad=False)
    chosen = [name for name, _ in model.named_parameters() if _is_chosen(name, only)]
    if not chosen:
        raise BadInputError(f"No weight has {' or '.join(only)} in its name.", "give other words, or leave them out.")
    named: nn.Module = model
    if rank:
        named = _adapted(model, chosen, rank)
    weights = set(chosen)
    for name, weight in named.named_parameters():
        whole = name in weights and (not rank or weight.dim() == 1)
        weight.requires_grad_(whole or ".lora_" in name)
    return named


def merged(model: nn.Module) -> nn.Module:
    """`model`, in place, as it was before `learning`: adapters are added to the weights they stand beside."""
    found = [(name, each) for name, each in model.named_modules() if hasattr(each, "lora_A") and hasattr(each, "merge")]
    for name, adapter in found:
        adapter.merge()
        model.set_submodule(name, adapter.get_base_layer())
    return model.requires_grad_(requires_grad=False)


def _is_chosen(name: str, only: Sequence[str]) -> bool:
    return not only or any(word in name for word in only)


def _adapted(model: Any, chosen: Sequence[str], rank: int) -> nn.Module:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtraError.of("peft", "transfer") from None
    weights, head = set(chosen), model.get_output_embeddings()
    layers = {
        name: each
        for name, each in model.named_modules()
        if f"{name}.weight" in weights and each is not head and _is_linear(each) and _is_worth(each, rank)
    }
    if not layers:
        raise BadInputError(f"No chosen matrix is large enough for an adapter of rank {rank}.", "give a lower rank.")
    config = LoraConfig(
        r=rank,
        lora_alpha=_ALPHA * rank,
        lora_dropout=0.0,
        target_modules="|".join(map(re.escape, layers)),
        fan_in_fan_out=any(type(each).__name__ == _TURNED for each in layers.values()),
    )
    adapted: nn.Module = inject_adapter_in_model(config, model)
    return adapted


def _is_linear(module: nn.Module) -> bool:
    from torch import nn

    return type(module) is nn.Linear or type(module).__name__ == _TURNED


def _is_worth(module: nn.Module, rank: int) -> bool:
    """Whether an adapter has fewer weights than the matrix."""
    n_in, n_out = module.weight.shape
    return bool(rank * (n_in + n_out) < n_in * n_out)
