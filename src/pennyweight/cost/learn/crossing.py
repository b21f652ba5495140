"""The way through many small trees at once: splits cross leaves out, and the first leaf that is left is the answer.

Every split that sends a row right crosses out the leaves on its left, and the first leaf left is where the row ends
(QuickScorer, Lucchese et al. 2015). Which leaves a feature crosses out in all trees depends only on between which two
thresholds its value lies: that is tabulated, and a row is one line of such a table per feature, ANDed. Trees of a few
leaves share a byte, and what a byte adds is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.cost.learn.trees import BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.cost.learn.trees import Tree

    Words = NDArray[np.uint8]
    Homes = list[tuple[int, int]]

_ROWS = 2048  # at once: what belongs to them stays in the cache


@dataclass(frozen=True, slots=True)
class Crossing:
    """What each feature crosses out in all trees, and what each byte of what is left adds (bytes, 256)."""

    fields: tuple[Field, ...]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Self:
        """Tabulate the trees."""
        homes = _pack([len(tree.leaves) for tree in trees])
        sums = np.zeros((1 + max((word for word, _ in homes), default=0), 1 << BITS))
        for tree, (word, shift) in zip(trees, homes, strict=True):
            sums[word] += _values(tree.leaves, shift)
        used = sorted({split.feature for tree in trees for split in tree.splits})
        return cls(tuple(Field.of(feature, trees, homes, len(sums)) for feature in used), sums)

    def add_up(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of all trees (n,) for `rows` (n, d)."""
        if not self.fields:
            return np.full(len(rows), self.sums[:, -1].sum())
        found, at, flat = np.empty(len(rows)), np.arange(len(self.sums)) << BITS, self.sums.ravel()
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            words = np.bitwise_and.reduce([field.words_of(part[:, field.feature]) for field in self.fields])
            found[start : start + _ROWS] = flat.take(words + at).sum(axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Field:
    """One feature's thresholds (t,), and the leaves (t + 2, bytes) left in each gap between them; the last is NaN's."""

    feature: int
    thresholds: NDArray[np.float64]
    left: Words

    @classmethod
    def of(cls, feature: int, trees: Sequence[Tree], homes: Homes, size: int) -> Self:
        """Tabulate one feature over trees whose leaves are at home in a byte, from a bit on."""
        mine = [
            (split, word, 0xFF ^ (((1 << split.count) - 1) << (split.first + shift)))
            for tree, (word, shift) in zip(trees, homes, strict=True)
            for split in tree.splits
            if split.feature == feature
        ]
        thresholds = np.unique([split.threshold for split, _, _ in mine])
        left = np.full((len(thresholds) + 2, size), 0xFF, dtype=np.uint8)
        for split, word, kept in mine:
            above = int(np.searchsorted(thresholds, split.threshold)) + 1
            left[above:-1, word] &= np.uint8(kept)
            if split.missing_right:
                left[-1, word] &= np.uint8(kept)
        return cls(feature, thresholds, left)

    def words_of(self, column: NDArray[np.float64]) -> Words:
        """The leaves (n, bytes) that values (n,) of the feature leave; equal to a threshold is not above it."""
        gap = np.searchsorted(self.thresholds, column)
        gap[np.isnan(column)] = len(self.thresholds) + 1
        return self.left.take(gap, axis=0)


def _pack(sizes: Sequence[int]) -> Homes:
    """Deal trees of so many leaves out into bytes: which byte, and from which bit on."""
    homes: Homes = []
    word, used = 0, 0
    for size in sizes:
        if used + size > BITS:
            word, used = word + 1, 0
        homes.append((word, used))
        used += size
    return homes


def _values(leaves: tuple[float, ...], shift: int) -> NDArray[np.float64]:
    """What a tree whose leaves begin at bit `shift` adds for each byte (256,): the value of its first leaf left."""
    bits = (np.arange(1 << BITS) >> shift) & ((1 << len(leaves)) - 1)
    first = np.bitwise_count((bits & -bits) - 1) % len(leaves)  # a byte with none of its leaves never occurs
    found: NDArray[np.float64] = np.array(leaves)[first]
    return found
