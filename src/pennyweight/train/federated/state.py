"""A model's weights and running statistics as one vector, and what a rule makes of updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

_FIRST, _SECOND, _FLOOR = 0.9, 0.99, 1e-3  # of FedAdam


def flat(model: nn.Module) -> NDArray[np.float32]:
    """All floating-point numbers of the model's state, one after another (N,), as a copy."""
    import torch

    array: NDArray[np.float32] = torch.cat([each.detach().reshape(-1).float() for each in _parts(model)]).numpy()
    return array


def fill(model: nn.Module, numbers: NDArray[Any]) -> None:
    """Give the model the numbers (N,)."""
    import torch

    parts = _parts(model)
    vector = torch.from_numpy(np.array(numbers, dtype=np.float32))
    with torch.no_grad():
        for each, part in zip(parts, vector.split([each.numel() for each in parts]), strict=True):
            each.copy_(part.view_as(each))


def _parts(model: nn.Module) -> list[Any]:
    return [each for each in model.state_dict(keep_vars=True).values() if each.is_floating_point()]


@final
class Rule:
    """Moves the server's weights by the mean update: all the way, or as Adam would ("fedadam").

    FedAvg is McMahan et al. (2017), FedAdam is Reddi et al. (2021, algorithm 2, with τ = 1e-3); FedProx (Li et al.
    2020) differs at the clients only.
    """

    def __init__(self, name: str, rate: float) -> None:
        self._adam, self._rate = name == "fedadam", rate
        self._mean: Any = 0.0
        self._square: Any = _FLOOR**2

    def move(self, weights: NDArray[np.float64], update: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next weights (N,)."""
        if not self._adam:
            return weights + update
        self._mean = _FIRST * self._mean + (1 - _FIRST) * update
        self._square = _SECOND * self._square + (1 - _SECOND) * np.square(update)
        moved: NDArray[np.float64] = weights + self._rate * self._mean / (np.sqrt(self._square) + _FLOOR)
        return moved
