"""How a vector of numbers becomes bytes and comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Codec(ABC):
    """A lossy code for vectors; what it loses is kept by whoever uses it and sent the next time."""

    @abstractmethod
    def pack(self, x: Tensor) -> Tensor:
        """The bytes (uint8) that stand for `x` (N,), float32, N ≥ 1."""

    @abstractmethod
    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """The numbers (`count`,), float32, that `packed` stands for."""
