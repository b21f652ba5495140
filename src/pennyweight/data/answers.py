"""What a model is to answer with, as it is in the data: values, or tokens (for classes see `balance`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Values:
    """Real values: their mean, standard deviation, smallest and largest, in the unit of y."""

    mean: float
    deviation: float
    low: float
    high: float

    @classmethod
    def of(cls, y: NDArray[Any]) -> Values:
        """Sum up `y` (N,) or (N, T)."""
        return cls(float(y.mean(dtype=float)), float(y.std(dtype=float)), float(y.min()), float(y.max()))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sequences of tokens: how many there are in all, and how many different ones occur."""

    count: int
    distinct: int

    @classmethod
    def of(cls, y: NDArray[Any]) -> Tokens:
        """Count `y` (N, T)."""
        return cls(y.size, len(np.unique(y)))
