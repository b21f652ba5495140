"""A struct of columns: arrays side by side that broadcast, of which cases are taken all at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Column: TypeAlias = Any  # NDArray[np.float64] of any shape that broadcasts: numpy's own types cannot say so


@dataclass(frozen=True, slots=True)
class Columns:
    """A struct of columns; its children name them."""

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The chosen cases; a column of one value for all stays as it is."""
        return type(self)(**{each.name: taken(getattr(self, each.name), chosen) for each in fields(self)})

    @property
    def shape(self) -> tuple[int, ...]:
        """What all columns broadcast to."""
        return np.broadcast_shapes(*(shape_of(getattr(self, each.name)) for each in fields(self)))


def column_of(items: Sequence[object], name: str) -> Column:
    """One attribute of all items (n,)."""
    return np.array([getattr(each, name) for each in items], dtype=np.float64)


def taken(column: Column, chosen: NDArray[Any]) -> Column:
    """The chosen values; a column of one value for all stays as it is."""
    return column[chosen] if np.ndim(column) else column


def shape_of(column: Column) -> tuple[int, ...]:
    """The shape of a column; of a number, none."""
    return np.shape(column)
