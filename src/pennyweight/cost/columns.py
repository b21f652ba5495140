"""Many models at once: the dimensions of n models as columns of numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_DERIVED = ("attention_layers", "moe_layers")
NAMES = (*(each.name for each in fields(Dims) if each.name != "name"), *_DERIVED)


@dataclass(frozen=True, slots=True)
class Columns:
    """Each number of `Dims` under the name it has there, as an array (n,) of floats; yes is 1, no is 0."""

    of: Mapping[str, NDArray[np.float64]]

    def __getattr__(self, name: str) -> Any:
        if name == "of" or name not in self.of:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        return self.of[name]

    def __len__(self) -> int:
        return len(self.of["layers"])

    def take(self, chosen: NDArray[Any]) -> Self:
        """The models chosen by a mask or by positions; a position may come more than once."""
        return type(self)({name: values[chosen] for name, values in self.of.items()})


# A number of one model or an array (n,) of n models': formulas of `Sizes` are arithmetic that works on both.
Number: TypeAlias = Any
Sizes: TypeAlias = Dims | Columns


def columns_of(models: Sequence[Dims]) -> Columns:
    """The dimensions of n models as arrays (n,)."""
    if not models:
        raise BadInputError("There are no models to make columns of.", "give one at least.")
    return Columns({name: np.array([getattr(each, name) for each in models], dtype=np.float64) for name in NAMES})
