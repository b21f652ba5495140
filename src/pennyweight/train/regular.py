"""What holds weights and gradients in bounds: penalties, clipping, norms, dropout, and the moving average."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Task
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.train.parts import held, here, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from torch import Tensor, nn

    from pennyweight.core import Regular

_WARM = 10  # after t steps the average forgets at least as fast as (1 + t) / (10 + t), or it would remember the start


def check(regular: Regular, task: Task) -> None:
    """Refuse bounds that contradict themselves or the task."""
    shares = {"smoothing": regular.smoothing, "dropout": regular.dropout, "ema": regular.ema}
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise BadInputError(f"A {name} of {value:g} cannot be used.", "give at least 0 and less than 1.")
    for name in ("l1", "clip_norm", "clip_value", "max_norm"):
        if not getattr(regular, name) >= 0:
            raise BadInputError(f"A {name} of {getattr(regular, name):g} cannot be used.", "give 0 or more.")
    if regular.smoothing and task is Task.REGRESS:
        raise BadInputError("Labels that are values cannot be smoothed over classes.", "leave smoothing at 0.")


def set_dropout(model: nn.Module, chance: float) -> None:
    """Give every dropout layer of `model`, in place, the probability `chance`; raises `NoEffectError` without any."""
    from torch import nn

    found = [each for each in model.modules() if isinstance(each, nn.modules.dropout._DropoutNd)]  # ruff: ignore[private-member-access] - the base of all dropout layers has no public name
    attentions = [each for each in model.modules() if isinstance(each, nn.MultiheadAttention)]
    if not found and not attentions:
        raise NoEffectError("The network has no dropout layers.", "add some, or leave dropout at 0.")
    for each in found:
        each.p = chance
    for each in attentions:
        each.dropout = chance


def hold_gradients(weights: Sequence[Tensor], regular: Regular, norm: Callable[[Tensor], Tensor] | None = None) -> None:
    """Add the L1 penalty's gradient, then clip each number, then the norm of the whole, all in place.

    `norm` makes the norm of the whole gradient of that of the part that is held here, if it is only a part.
    """
    import torch

    own = [held(each) for each in weights if each.grad is not None]
    if regular.l1:
        with torch.no_grad():
            signs = [torch.sign(each) for each in own]
            torch._foreach_add_([each.grad for each in own], signs, alpha=regular.l1)
    if regular.clip_value:
        torch.nn.utils.clip_grad_value_(own, regular.clip_value)
    if regular.clip_norm:
        length = torch.nn.utils.get_total_norm([each.grad for each in own])
        torch.nn.utils.clip_grads_with_norm_(own, regular.clip_norm, length if norm is None else norm(length))


def hold_weights(model: nn.Module, most: float) -> None:
    """Shorten the weights into each unit of linear and convolution layers, in place, to a norm of at most `most`.

    The max-norm constraint (Srebro and Shraibman 2005; Srivastava et al. 2014).
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for each in model.modules():
            if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                weight = here(each.weight)  # whole units, since weights are parted between them
                weight.copy_(torch.renorm(weight, 2, 0, most))


@final
class Average:
    """The exponential moving average of a model's weights and of what its batch norms remember.

    After step t the decay is ``min(decay, (1 + t) / (10 + t))``. What is no float, such as a count, is the latest.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        live = model.state_dict(keep_vars=True).values()
        floats = [each.detach() for each in live if each.is_floating_point()]
        self._whole = [each.clone() for each in floats]
        self._live, self._kept = [here(each) for each in floats], [here(each) for each in self._whole]
        self._decay, self._count = decay, 0

    def update(self) -> None:
        """Take in the weights as they are now."""
        import torch

        self._count += 1
        decay = min(self._decay, (1 + self._count) / (_WARM + self._count))
        torch._foreach_lerp_(self._kept, self._live, 1 - decay)

    @contextmanager
    def shown(self) -> Generator[None]:
        """Let the model have the averaged weights for a while."""
        latest = [each.clone() for each in self._live]
        self.settle()
        try:
            yield
        finally:
            _copy(latest, self._live)

    def settle(self) -> None:
        """Give the model the averaged weights."""
        _copy(self._kept, self._live)

    def state(self) -> dict[str, Any]:
        """All that the average depends on."""
        return {"count": self._count, "kept": self._whole}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._count = state["count"]
        kept = list(starmap(parted, zip(state["kept"], self._whole, strict=True)))
        _copy([here(each) for each in kept], self._kept)


def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for now, then in zip(source, target, strict=True):
        then.copy_(now)
