"""Activations that are not kept: blocks remember what they were given, and compute the rest anew going backward."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch import nn

    from pennyweight.core import TrainSpec

_FEW = 2


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks that the model repeats: the members of its list (or sequence) of most modules of one class.

    Lists inside others and modules without parts of their own do not count; empty if there is none.
    """
    from torch import nn

    lists = [each for each in model.modules() if isinstance(each, nn.ModuleList | nn.Sequential)]
    alike = [list(each) for each in lists if len(each) >= _FEW and len({type(block) for block in each}) == 1]
    alike = [blocks for blocks in alike if all(any(True for _ in block.children()) for block in blocks)]
    return max(alike, key=len, default=[])


@contextmanager
def recomputing(model: nn.Module, settings: TrainSpec) -> Generator[None]:
    """Meanwhile the blocks of `model` keep only their inputs while they train, if the settings ask for it.

    What a block drew by chance (dropout) is drawn alike the second time (Chen et al. 2016; `torch.utils.checkpoint`).
    Raises `BadInputError` for a model that repeats no block, or one with batch norms, which would count a batch twice.
    """
    if not settings.recompute:
        yield
        return
    blocks = _checked(model)
    for block in blocks:
        block.forward = _anew(block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _checked(model: nn.Module) -> list[nn.Module]:
    from pennyweight.train.rows import has_batch_norm

    blocks = blocks_of(model)
    if not blocks:
        raise BadInputError("The network repeats no block that could be computed anew.", "leave recompute out.")
    if any(has_batch_norm(block) for block in blocks):
        raise BadInputError("Its blocks have batch norms, which would count every batch twice.", "leave recompute out.")
    return blocks


def _anew(block: nn.Module) -> Callable[..., Any]:
    import torch
    from torch.utils.checkpoint import checkpoint

    plain = block.forward

    def forward(*given: Any, **named: Any) -> Any:
        if block.training and torch.is_grad_enabled():
            return checkpoint(plain, *given, use_reentrant=False, **named)
        return plain(*given, **named)

    return forward
