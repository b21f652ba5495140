"""Who trains together: what the loop asks of the other workers, and the answer of one that is alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.train.wire import Wire

if TYPE_CHECKING:
    from torch import Tensor, nn


class Word(IntEnum):
    """What all workers do next: stop, keep their states and go on, or go on; the least word of any decides."""

    STOP = 0
    KEEP = 1
    GO = 2


def wish(*, going: bool, keep: bool) -> Word:
    """The word of one who is `going` on or not, and wants to `keep` its state or not."""
    return (Word.KEEP if keep else Word.GO) if going else Word.STOP


@dataclass(slots=True)
class Team(ABC):
    """The workers that train one model, as one of them sees it, on a `wire` to the others.

    The loop calls `wrap` once, `share` at the start of every epoch, `after_step` after every change of the weights and
    `agree` before the next step, `finish` at the end; every worker calls them equally often. What a worker's next steps
    depend on beside its model is its `state`, which is taken when all have agreed to keep theirs. Where the weights are
    in parts, all call `looks`, `shown`, `norm`, `gathered` and `found` alike too.
    """

    whole: ClassVar[bool] = True  # whether every worker holds all weights

    wire: Wire

    @abstractmethod
    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to train in place of `model`, with the same parameters: gradients are exchanged in its backward.

        All workers start from the weights of the first.
        """

    def after_step(self, model: nn.Module, step: int) -> None:
        """Do what is due after `step` changes of the weights, such as averaging them; as a rule nothing is."""
        del model, step

    def finish(self, model: nn.Module) -> None:
        """Come to the same weights after the last step, where they are not the same already."""
        del model

    def agree(self, *, going: bool, keep: bool = False) -> Word:
        """What all do, asked at every step: stop if one is not going on, else keep their states if one wants to."""
        return Word(self.wire.least(wish(going=going, keep=keep)))

    def state(self) -> dict[str, Any]:
        """What the next steps of this worker depend on, beside the model; nothing, as a rule."""
        return {}

    def restore(self, state: dict[str, Any], model: nn.Module) -> None:
        """Go on, with the wrapped `model` as it was then, from what `state` returned; without `own` from another's."""
        del state, model

    def looks(self, *, wanted: bool) -> bool:
        """Whether the model is looked at now: if this worker wants it or, where that takes all of them, any does."""
        return wanted

    def shown(self, model: nn.Module) -> nn.Module:
        """The trained `model` with all its weights, to be looked at."""
        return model

    def norm(self, mine: Tensor) -> Tensor:
        """The norm of the whole gradient, where that of what is held here is `mine` (a scalar)."""
        return mine

    def gathered(self, state: Any) -> Any:
        """A state with all tensors whole, as it is kept."""
        return state

    def found(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """The state to go on from, where this worker has found `state`."""
        return state

    def share(self, order: Tensor) -> Tensor:
        """The rows of this worker out of `order` (N,), equally many for every worker.

        They are every n-th row from the rank on, so that the batches of all workers together are those of one that
        works alone; rows that would make the shares uneven are left out.
        """
        whole = len(order) - len(order) % self.size
        return order[:whole][self.rank :: self.size]

    def mean(self, value: float) -> float:
        """The mean of a number over all workers, in double precision."""
        import torch

        return float(self.wire.mean(torch.tensor(value, dtype=torch.float64)))

    @property
    def rank(self) -> int:
        """Which worker this is."""
        return self.wire.rank

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self.wire.size

    @property
    def wire_byte(self) -> float:
        """Bytes that this worker has sent so far, measured."""
        return self.wire.sent_byte


@final
@dataclass(slots=True)
class Alone(Team):
    """A team of one: nothing is shared and nothing is sent."""

    wire: Wire = field(default_factory=Wire)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model
