"""Which channels change width together: groups of axes, tied by the operators that share them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a tensor keeps its channels: `axis` has `width` channels of a group, each with `inner` values in a row."""

    axis: int
    group: int
    width: int
    inner: int = 1

    def moved(self, axis: int) -> Lane:
        """The same channels on another axis."""
        return replace(self, axis=axis)


class Widths:
    """A union-find over width groups; a group that touches something of fixed width is frozen."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._frozen: list[bool] = []
        self._names: list[str] = []

    def new(self, name: str) -> int:
        """Start a group, called after the operator that writes it first."""
        self._parent.append(len(self._parent))
        self._frozen.append(False)
        self._names.append(name)
        return len(self._parent) - 1

    def tie(self, one: int, other: int) -> None:
        """Make two groups one; it keeps the older name, and is frozen if either was."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parent[second] = first
        self._frozen[first] = self._frozen[first] or self._frozen[second]

    def freeze(self, lane: Lane | None) -> None:
        """Forbid the group of `lane` (if there is one) to change."""
        if lane is not None:
            self.pin(lane.group)

    def pin(self, group: int | None) -> None:
        """Forbid a group to change."""
        if group is not None:
            self._frozen[self._root(group)] = True

    def name(self, group: int | None) -> str:
        """The name of the group, empty if there is none or it may not change."""
        if group is None:
            return ""
        root = self._root(group)
        return "" if self._frozen[root] else self._names[root]

    def _root(self, group: int) -> int:
        while self._parent[group] != group:
            self._parent[group] = self._parent[self._parent[group]]
            group = self._parent[group]
        return group


def reshaped(lane: Lane, before: tuple[int, ...], after: tuple[int, ...]) -> Lane | None:
    """The lane after a reshape, None if its channels are split or mixed with what lies before them.

    Joining the channels with the axes behind them keeps them apart: flattening (C, H, W) leaves each channel H·W values
    in a row. A later split takes those values off again.
    """
    width = lane.width
    ahead, values = prod(before[: lane.axis]), prod(before[lane.axis :]) // width
    for axis, size in enumerate(after):
        if size > 1 and prod(after[:axis]) == ahead:
            inner = size // width
            whole = size % width == 0 and values % inner == 0
            return replace(lane, axis=axis, inner=inner) if whole else None
    return None


def permuted(lane: Lane, order: tuple[int, ...]) -> Lane:
    """The lane after the axes were put in `order`."""
    return lane.moved([axis % len(order) for axis in order].index(lane.axis))
