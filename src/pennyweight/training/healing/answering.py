"""Two models of transformers as healing uses them: the pupil as the training loop takes one, the teacher as a function.

Shapes: B windows, T tokens, V tokens that the student knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pennyweight.training.healing.reading import Windows

_NEVER = -1e4  # the logit of what the teacher has no token for: its chance is 0, and 0 times its logarithm a number


def pupil(model: Any) -> nn.Module:
    """`model` as the training loop takes one: tokens (B, T) in, logits (B, T, V) out.

    The loop trains a copy of what it is given; of this one there is only one, for a copy would be a third model.
    """
    from torch import nn

    class Pupil(nn.Module):  # type: ignore[misc]  # torch is opaque to the type checker
        """Calls the model."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def __deepcopy__(self, memo: dict[int, Any]) -> Pupil:
            return self

        def forward(self, ids: Tensor) -> Tensor:
            """Logits."""
            return self.inner(input_ids=ids, use_cache=False).logits

    return Pupil()


@final
class Teacher:
    """The teacher's logits (B, T, V), in float32, for tokens in the student's numbers, of which it has `numbers`."""

    def __init__(self, model: Any, numbers: NDArray[np.int64] | None) -> None:
        import torch

        self._model = model
        self._of = self._lost = None
        if numbers is not None:
            self._of, self._lost = torch.from_numpy(np.maximum(numbers, 0)), torch.from_numpy(numbers < 0)

    def __call__(self, ids: Tensor) -> Tensor:
        """Answer a batch of windows (B, T)."""
        import torch

        with torch.no_grad():
            own = ids if self._of is None else self._of[ids]
            logits = self._model(input_ids=own, use_cache=False).logits.float()
            if self._of is None:
                return logits
            return logits[..., self._of].masked_fill_(self._lost, _NEVER)


def loss_of(answer: Callable[[Tensor], Any], rows: Windows, at_once: int) -> float:
    """The mean loss of a token, in nats, of who answers windows with logits, some at a time."""
    import torch
    from torch.nn import functional

    total = 0.0
    for at in range(0, len(rows), at_once):
        x, y = (torch.from_numpy(part[at : at + at_once]) for part in (rows.x, rows.y))
        with torch.no_grad():
            said = answer(x).float()
        total += float(functional.cross_entropy(said.flatten(0, 1), y.flatten(), reduction="sum"))
    return total / rows.tokens
