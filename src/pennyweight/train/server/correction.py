"""What is done about a gradient that was computed on weights that others have changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Tensor

_STRENGTH, _MEMORY, _TINY = 2.0, 0.95, 1e-7


@final
class Correction:
    """Turns stale gradients into what they would be now, for one slice of the weights.

    "compensated" adds ``λ g ⊙ g ⊙ (w - w_then)``, the second term of the gradient's Taylor series with the diagonal of
    ``g gᵀ`` for the Hessian, where λ is 2 over the root of the mean square of past gradients (Zheng et al. 2017,
    DC-ASGD-a). "scaled" divides a gradient by one plus the changes it has missed (Zhang et al. 2016). "none" takes it
    as it is.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._square: Tensor | None = None

    def apply(self, gradient: Tensor, weights: Tensor, then: Tensor | None, missed: int) -> Tensor:
        """The corrected gradient (N,); `then` (N,) are the weights it is of, None if they are not known any more."""
        import torch

        if self._kind == "scaled":
            return gradient / (1 + missed)
        if self._kind == "none":
            return gradient
        square = gradient.square()
        self._square = square.clone() if self._square is None else self._square.lerp_(square, 1 - _MEMORY)
        if then is None or not missed:
            return gradient
        return gradient + _STRENGTH * torch.rsqrt(self._square + _TINY) * square * (weights - then)

    def state(self) -> dict[str, Any]:
        """What the next corrections depend on."""
        return {} if self._square is None else {"square": self._square}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._square = state.get("square", self._square)
