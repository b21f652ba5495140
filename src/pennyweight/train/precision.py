"""Products in few bits, weights in float32: autocast, and the scaling that saves small float16 gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pennyweight.train.schedule import Stepper

PRECISIONS = ("bfloat16", "float16", "float32")


@final
class Precision:
    """How products are computed, and what that asks of the backward pass.

    In "bfloat16" and "float16" only products run in few bits; weights, loss and everything that adds up stay in
    float32. float16 has no room for small gradients, so the loss is scaled up and the gradients down again, by a factor
    that is halved, and a step that is left out, when one overflows (Micikevicius et al. 2018).
    """

    def __init__(self, name: str) -> None:
        import torch

        if name not in PRECISIONS:
            raise UnknownNameError.of("training precision", name, PRECISIONS)
        self._type = None if name == "float32" else getattr(torch, name)
        self._scaler = torch.amp.GradScaler("cpu") if name == "float16" else None

    def products(self) -> AbstractContextManager[Any]:
        """Where the model is to run.

        Attention is spelled out in products there: the backward pass of PyTorch's flash attention takes nine times as
        long in bfloat16 as in float32 on a CPU (2.13), the products a third.
        """
        if self._type is None:
            return nullcontext()
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        stack = ExitStack()
        stack.enter_context(torch.autocast("cpu", self._type))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled if need be."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, rule: Stepper, hold: Callable[[], None]) -> None:
        """Let `hold` see the true gradients, then change the weights once and the learning rate."""
        if self._scaler is None:
            hold()
            rule.step()
            return
        for each in rule.optimizers:
            self._scaler.unscale_(each)
        hold()
        for each in rule.optimizers:
            self._scaler.step(each)
        self._scaler.update()
        rule.advance()

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on."""
        return self._scaler.state_dict() if self._scaler is not None else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        if self._scaler is not None:
            self._scaler.load_state_dict(state)
