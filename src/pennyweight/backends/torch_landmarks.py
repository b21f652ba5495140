"""A kernel machine on landmarks as a torch module, so that it is counted, stored and quantised like any network."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cost.learn.landmarks import LandmarkMachine
from pennyweight.cost.learn.orientations import Orientations

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pennyweight.core import Op

_HEAT = 5.0  # answers between -1 and 1 become logits that a softmax can tell apart


def suited(shape: tuple[int, ...]) -> Orientations | None:
    """How images of `shape` (C, H, W) are turned into rows; None for what are no images or too small to have edges."""
    if len(shape) != 3 or shape[0] not in {1, 3} or min(shape[1:]) < 7:
        return None
    return Orientations.suited(min(shape[1:]))


def network(machine: LandmarkMachine, turn: Orientations, shape: tuple[int, ...], *, heat: float = _HEAT) -> nn.Module:
    """The module that answers images (N, C, H, W) as `machine` answers what `turn` makes of them, `heat` times.

    Edges are a convolution with fixed weights, windows another; then come two linear layers with a kernel in between.
    """
    import torch
    from torch import nn

    edges = nn.Conv2d(shape[0], turn.directions, 5, bias=False)
    windows = nn.Conv2d(turn.directions, turn.directions, turn.window, turn.stride, groups=turn.directions, bias=False)
    points = nn.Linear(machine.points.shape[1], len(machine.points))
    answers = nn.Linear(*machine.weights.shape, bias=False)
    sharp = np.float32(2 * machine.sharp)
    with torch.no_grad():
        edges.weight.copy_(torch.from_numpy(_edges(turn)[:, None]).expand_as(edges.weight))
        windows.weight.copy_(torch.from_numpy(np.outer(turn.slope, turn.slope)).expand_as(windows.weight))
        points.weight.copy_(torch.from_numpy(sharp * machine.points))
        points.bias.fill_(-float(sharp))
        answers.weight.copy_(torch.from_numpy(np.float32(heat) * machine.weights.T))
    unit, exponential = _parts()
    return nn.Sequential(
        nn.ReplicationPad2d(2), edges, nn.ReLU(), windows, nn.Flatten(), unit(), points, exponential(), answers
    )


@lru_cache(maxsize=64)
def operators(shape: tuple[int, ...], landmarks: int, answers: int) -> tuple[Op, ...]:
    """The operator table of such a network for images of `shape`, counted on a real one."""
    from pennyweight.cost.table_module import table_of_module

    turn = suited(shape)
    if turn is None:
        return ()
    points = np.zeros((landmarks, turn.width(*shape[1:])), np.float32)
    machine = LandmarkMachine(points, np.zeros((landmarks, answers), np.float32), 1.0)
    return table_of_module(network(machine, turn, shape), shape)


def _edges(turn: Orientations) -> Any:
    """The filters (directions, 5, 5): smoothing and difference in one, each direction and its opposite."""
    smooth, rise = np.array([1, 2, 1]), np.array([-1, 0, 1])
    # Smoothing both ways and then taking the difference along one side is one product of two filters of five.
    both, step = np.convolve([0, 1, 0], smooth), np.convolve(rise, smooth)
    across, down = np.outer(both, step), np.outer(step, both)
    half = [np.cos(angle) * across + np.sin(angle) * down for angle in turn.angles]
    return np.array([*half, *(-each for each in half)], np.float32)


@cache
def _parts() -> tuple[type[nn.Module], type[nn.Module]]:
    import torch
    from torch import nn

    class Unit(nn.Module):  # type: ignore[misc]  # torch is opaque to the type checker
        """Square roots, scaled to length one."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x / x.sum(dim=1, keepdim=True).clamp(min=1e-12))

    class Exponential(nn.Module):  # type: ignore[misc]  # as above
        """The kernel of what the landmarks' layer says of closeness."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(x)

    return Unit, Exponential
