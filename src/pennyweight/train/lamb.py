"""LAMB: Adam whose step for each tensor is as long as the tensor is large, for very large batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch  # ruff: ignore[banned-module-level-imports] - it inherits from torch's optimiser; imported when asked for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_BETAS = (0.9, 0.999)
_EPS = 1e-6


@final
class Lamb(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not followed, so its classes are Any
    """Layer-wise adaptive moments for batch training (You et al. 2020, algorithm 2, with Adam's bias correction).

    The direction of a tensor is Adam's plus `weight_decay` times the tensor; its length is ``lr * ‖tensor‖``, or `lr`
    times its own where either norm is zero.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": _BETAS, "eps": _EPS})

    def step(self) -> None:
        """Change every tensor that has a gradient once."""
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._change(weight, group)

    def _change(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, (low, high) = self.state[weight], group["betas"]
        if not state:
            state["step"], state["mean"], state["square"] = 0, torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        mean = state["mean"].lerp_(weight.grad, 1 - low)
        square = state["square"].mul_(high).addcmul_(weight.grad, weight.grad, value=1 - high)
        spread = (square / (1 - high ** state["step"])).sqrt_().add_(group["eps"])
        way = (mean / (1 - low ** state["step"])).div_(spread).add_(weight, alpha=group["weight_decay"])
        size, length = torch.linalg.vector_norm(weight), torch.linalg.vector_norm(way)
        trust = torch.where((size > 0) & (length > 0), size / length, torch.ones_like(size))
        weight.sub_(way * (group["lr"] * trust))
