"""Inputs that weigh much are made larger before rounding, and smaller where they come from, so nothing else changes.

Input c of linear layers is divided by s_c in the layer or norm before, and its weights are multiplied by it; with a_c
the mean magnitude of the input and w_c that of its weights, s_c = a_c^r / w_c^((1 - r) p), r from 0 to 1 and p 0 or 1,
whichever moves the outputs least. Scales of groups are then searched, deviations counted by inputs.
Source: Lin et al. 2023, arXiv:2306.00978, equations 4 and 5; the term of weights is of its authors' later code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pennyweight.backends.large.grids import Grid

_STEPS = 10
_MOST = 1e4  # between the largest and the least factor


def channel_factors(weights: Sequence[Tensor], inputs: Tensor, grid: Grid) -> Tensor:
    """The s (in) for layers of `weights` (out, in) that read the same `inputs` (tokens, in); ones if none is better."""
    import torch

    size = inputs.abs().mean(0)
    heft = torch.stack([each.abs().mean(0) for each in weights]).mean(0)
    best = torch.ones_like(size)
    least = _moved(weights, inputs, best, grid)
    for step in range(1, _STEPS + 1):
        share = step / _STEPS
        for weighed in (0.0, 1.0):
            factors = size.clamp_min(1e-12) ** share / heft.clamp_min(1e-12) ** ((1 - share) * weighed)
            factors = _levelled(factors)
            moved = _moved(weights, inputs, factors, grid)
            if moved < least:
                best, least = factors, moved
    return best


def _levelled(factors: Tensor) -> Tensor:
    """Around one, and within bounds."""
    middle = (factors.amax() * factors.amin()).sqrt().clamp_min(1e-30)
    return (factors / middle).clamp_(_MOST**-0.5, _MOST**0.5)


def _moved(weights: Sequence[Tensor], inputs: Tensor, factors: Tensor, grid: Grid) -> float:
    """The squared distance that rounding to nearest moves outputs by."""
    moved = 0.0
    for each in weights:
        groups = (each * factors).view(-1, grid.group)
        scales = grid.plain(groups)
        made = grid.codes(groups, scales).mul_(scales[:, None]).view_as(each).div_(factors).sub_(each)
        moved += float((inputs @ made.t()).square_().sum())
    return moved
