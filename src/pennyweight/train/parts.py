"""Tensors of which each worker holds a part: the part that is here, and the part of a whole that belongs here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def is_part(x: Tensor) -> bool:
    """Whether this worker holds only a part of `x`."""
    return hasattr(x, "to_local")


def here(x: Tensor) -> Tensor:
    """The part of `x` that this worker holds, on the same memory and outside of any graph; `x` itself if all of it."""
    return x.detach().to_local() if is_part(x) else x


def held(weight: Tensor) -> Tensor:
    """A weight and its gradient as far as they are held here: what is done to either in place is done to them."""
    if not is_part(weight):
        return weight
    mine = here(weight)
    mine.grad = None if weight.grad is None else here(weight.grad)
    return mine


def parted(whole: Tensor, like: Tensor) -> Tensor:
    """`whole` in the parts that `like` has, of which this worker keeps its own; nothing is sent."""
    if not is_part(like) or is_part(whole):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
