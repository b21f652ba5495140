"""The weights of a model as one row of numbers, and the slices of it that shards hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


def trainable(model: nn.Module) -> list[Any]:
    """The parameters that training changes, in the order of the model."""
    return [each for each in model.parameters() if each.requires_grad]


def flat(model: nn.Module) -> np.ndarray:
    """All trainable parameters, one after another (N,), as a copy."""
    import torch

    array: np.ndarray = torch.cat([each.detach().reshape(-1) for each in trainable(model)]).numpy()
    return array


def fill(parameters: Sequence[Any], weights: np.ndarray) -> None:
    """Give `parameters` the weights (N,)."""
    import torch

    parts = torch.from_numpy(weights).split([each.numel() for each in parameters])
    with torch.no_grad():
        for each, part in zip(parameters, parts, strict=True):
            each.copy_(part.view_as(each))


def slices(weights: np.ndarray, count: int) -> list[np.ndarray]:
    """The weights (N,) in `count` slices that differ by one number at most."""
    return np.array_split(weights, count)
