"""Who trains together: what the loop asks of the other workers, and the answer of one that is alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

if TYPE_CHECKING:
    from torch import Tensor, nn


class Team(ABC):
    """The workers that train one model, as one of them sees it: the `rank`-th of `size`.

    The loop calls `wrap` once, `share` at the start of every epoch, `after_step` after every change of the weights and
    `agree` before the next step, `finish` at the end; every worker calls them equally often.
    """

    whole: ClassVar[bool] = True  # whether every worker holds all weights, as `train.loop.fit` needs

    rank: int
    size: int

    @abstractmethod
    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to train in place of `model`, with the same parameters: gradients are exchanged in its backward.

        All workers start from the weights of the first.
        """

    @abstractmethod
    def share(self, order: Tensor) -> Tensor:
        """The rows of this worker out of `order` (N,), equally many for every worker."""

    @abstractmethod
    def after_step(self, model: nn.Module, step: int) -> None:
        """Do what is due after `step` changes of the weights, such as averaging them."""

    @abstractmethod
    def finish(self, model: nn.Module) -> None:
        """Come to the same weights after the last step, if they are not the same already."""

    @abstractmethod
    def agree(self, *, going: bool) -> bool:
        """Whether all go on: False for all as soon as one stops."""

    @abstractmethod
    def mean(self, value: float) -> float:
        """The mean of a number over all workers."""

    @property
    @abstractmethod
    def wire_byte(self) -> float:
        """Bytes that this worker has sent so far, measured."""


@final
@dataclass(frozen=True, slots=True)
class Alone(Team):
    """A team of one: nothing is shared and nothing is sent."""

    rank: int = 0
    size: int = 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def share(self, order: Tensor) -> Tensor:
        """All rows."""
        return order

    def after_step(self, model: nn.Module, step: int) -> None:
        """Nothing."""

    def finish(self, model: nn.Module) -> None:
        """Nothing."""

    def agree(self, *, going: bool) -> bool:
        """As this one wants."""
        return going

    def mean(self, value: float) -> float:
        """The number itself."""
        return value

    @property
    def wire_byte(self) -> float:
        """Nothing."""
        return 0.0
