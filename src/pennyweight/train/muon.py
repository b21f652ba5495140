"""Muon, many matrices at a time: on small networks PyTorch's own spends more on its calls than on its products."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, final

import torch  # ruff: ignore[banned-module-level-imports] - it inherits from torch's optimiser; imported when asked for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steep at zero, singular values end between 0.7 and 1.2
_TIMES = 5
_LEAST = 1e-7
_ADAM_LIKE = 0.2  # the root mean square of a step is that of AdamW's (Liu et al. 2025, Muon is Scalable)


@final
class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # torch is not followed, so its classes are Any
    """Momentum whose direction is made orthogonal by Newton–Schulz iteration (Jordan et al. 2024, Muon).

    The same steps as `torch.optim.Muon` with ``adjust_lr_fn="match_rms_adamw"``; matrices of one shape, or of one shape
    and its transpose, are iterated together in bfloat16. A step takes some 10 r²(2c + r) operations for each matrix of
    r rows and c ≥ r columns.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    def step(self) -> None:
        """Change every matrix that has a gradient once."""
        with torch.no_grad():
            for group in self.param_groups:
                alike: defaultdict[tuple[int, ...], list[Tensor]] = defaultdict(list)
                for weight in group["params"]:
                    if weight.grad is not None:
                        alike[tuple(sorted(weight.shape))].append(weight)
                for weights in alike.values():
                    self._change(weights, group["lr"], group["weight_decay"], group["momentum"])

    def _change(self, weights: list[Tensor], lr: float, decay: float, momentum: float) -> None:
        ways = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            way = weight.grad.lerp(state["momentum_buffer"].lerp_(weight.grad, 1 - momentum), momentum)
            ways.append(way.T if way.shape[0] > way.shape[1] else way)
        length = lr * _ADAM_LIKE * max(weights[0].shape) ** 0.5
        for weight, way in zip(weights, _orthogonal(torch.stack(ways)).to(weights[0].dtype), strict=True):
            turned = way.T if weight.shape[0] > weight.shape[1] else way
            weight.mul_(1 - lr * decay).sub_(turned, alpha=length)


def _orthogonal(ways: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, of (N, r, c) with r ≤ c, in bfloat16."""
    a, b, c = _QUINTIC
    x = ways.bfloat16()
    x /= x.norm(dim=(1, 2), keepdim=True).clamp(min=_LEAST)
    for _ in range(_TIMES):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
