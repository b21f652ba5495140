"""Equal blocks become one: the operator table of a hundred equal layers is as short as that of one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core import Op


def merged(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """Merge the rows of repeated blocks: ``blocks.0.fc``, ``blocks.1.fc`` … become ``blocks.*.fc``, so many `times`.

    Only a number inside a path stands for a block; the last part of a path names a layer and stays. Width groups of the
    blocks are merged likewise, and change width together, where all groups of one pattern are equally wide. Inner
    repeats are merged first.
    """
    deepest = max((op.name.count(".") for op in ops), default=0)
    for place in reversed(range(deepest)):
        ops = _merged_at(_regrouped(ops, place), place)
    return ops


def alike(ops: Iterable[Op]) -> tuple[Op, ...]:
    """Merge rows that are equal in all but their name, where nobody needs to find them again."""
    kept: dict[Op, list[Op]] = {}
    for op in ops:
        kept.setdefault(replace(op, name="", times=1), []).append(op)
    return tuple(replace(same[0], times=sum(op.times for op in same)) for same in kept.values())


def _pattern(name: str, place: int) -> str:
    """The name with the number at `place` in its path replaced by a star; unchanged if there is none."""
    parts = name.split(".")
    if place >= len(parts) - 1 or not parts[place].isdigit():
        return name
    return ".".join((*parts[:place], "*", *parts[place + 1 :]))


def _regrouped(ops: tuple[Op, ...], place: int) -> tuple[Op, ...]:
    sizes = {op.writes: op.n_out for op in ops if op.writes} | {op.reads: op.n_in for op in ops if op.reads}
    families = defaultdict(list)
    for group in sizes:
        families[_pattern(group, place)].append(group)
    alike = {group: pattern for pattern, groups in families.items() for group in _equal(groups, sizes)}
    return tuple(replace(op, reads=alike.get(op.reads, op.reads), writes=alike.get(op.writes, op.writes)) for op in ops)


def _equal(groups: list[str], sizes: dict[str, int]) -> Iterable[str]:
    return groups if len(groups) > 1 and len({sizes[group] for group in groups}) == 1 else ()


def _merged_at(ops: tuple[Op, ...], place: int) -> tuple[Op, ...]:
    kept: dict[Op, list[Op]] = {}
    for op in ops:
        kept.setdefault(replace(op, name=_pattern(op.name, place), times=1), []).append(op)
    return tuple(
        replace(key, times=sum(op.times for op in same)) if len(same) > 1 else same[0] for key, same in kept.items()
    )
