"""Trees as plain values: the questions they ask and what their leaves add."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 8  # leaves of a tree at most: they share a byte


@dataclass(frozen=True, slots=True)
class Split:
    """One question: rows whose `feature` is above `threshold` go right, past the `count` leaves from `first` on.

    Leaves are numbered from the left in their own tree; a missing value (NaN) goes right if `missing_right`.
    """

    feature: int
    threshold: float
    first: int
    count: int
    missing_right: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: its splits in any order, and what its leaves add, from left to right."""

    splits: tuple[Split, ...]
    leaves: tuple[float, ...]

    @classmethod
    def of(cls, nodes: NDArray[Any]) -> Self:
        """Take the nodes of a tree of scikit-learn's histogram boosting."""
        if nodes["is_categorical"].any() or int(nodes["is_leaf"].sum()) > BITS:
            raise BadInputError("Only trees of up to 8 leaves, without categories, are kept.", "grow smaller trees.")
        splits: list[Split] = []
        leaves: list[float] = []

        def walk(at: int) -> None:
            node = nodes[at]
            if node["is_leaf"]:
                leaves.append(float(node["value"]))
                return
            first = len(leaves)
            walk(int(node["left"]))
            asked = int(node["feature_idx"]), float(node["num_threshold"])
            splits.append(Split(*asked, first, len(leaves) - first, not node["missing_go_to_left"]))
            walk(int(node["right"]))

        walk(0)
        return cls(tuple(splits), tuple(leaves))

    def to_list(self) -> list[Any]:
        """A JSON-compatible copy: splits as lists of their fields, then leaves."""
        return [[_plain(split) for split in self.splits], list(self.leaves)]

    @classmethod
    def from_list(cls, body: list[Any], width: int) -> Self:
        """What `to_list` wrote of a tree over rows of `width` features."""
        splits, leaves = body
        made = cls(tuple(_split(each) for each in splits), tuple(float(value) for value in leaves))
        size = len(made.leaves)
        fits = (0 <= one.feature < width and one.first >= 0 < one.count < size - one.first for one in made.splits)
        if not 0 < size <= BITS or not all(fits):
            raise CorruptError("This is no tree of up to 8 leaves.", "fit it again.")
        return made


def _plain(split: Split) -> list[Any]:
    threshold = split.threshold if math.isfinite(split.threshold) else None  # all that is not missing goes left
    return [split.feature, threshold, split.first, split.count, int(split.missing_right)]


def _split(body: list[Any]) -> Split:
    feature, threshold, first, count, missing = body
    above = math.inf if threshold is None else float(threshold)
    return Split(int(feature), above, int(first), int(count), bool(missing))
