"""How many bytes the codes of weights may take, and the widths of layers that use them best."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pennyweight.backends.large.decoders import SHARED_INPUTS
from pennyweight.backends.large.packed import pieces
from pennyweight.engine.shrinking.allotting import allot
from pennyweight.errors import BadInputError
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pennyweight.backends.large.rounding import Rounding
    from pennyweight.engine.shrinking.choosing import Choice
    from pennyweight.engine.shrinking.wish import Wish
    from pennyweight.store.checkpoints import Checkpoint

Unit = tuple[str, ...]  # weights that get the same width, as their layers read the same


def units_of(names: Iterable[str]) -> list[Unit]:
    """Weights of layers that read the same, together; others each alone."""
    found: defaultdict[tuple[str, int | str], list[str]] = defaultdict(list)
    for name in names:
        stem = name.removesuffix(".weight")
        place = next((at for at, group in enumerate(SHARED_INPUTS) if stem.endswith(group)), None)
        end = next((each for group in SHARED_INPUTS for each in group if stem.endswith(each)), "")
        found[(stem.removesuffix(end), place) if place is not None else (stem, "")].append(name)
    return [tuple(each) for each in found.values()]


def guessed(source: Checkpoint, wish: Wish, choice: Choice) -> dict[str, Rounding]:
    """Widths before anything is measured, as if all weights mattered alike: for sizes only.

    Raises `BadInputError` if even the narrowest take more than was asked for.
    """
    harms = {}
    for unit in units_of(name for name in source.tensors if name in choice.rounded):
        count = sum(source.tensors[name].count for name in unit)
        harms[unit] = {name: count * 4.0**-way.bits for name, way in wish.widths.items()}
    return best_widths(source, wish, harms)


def best_widths(source: Checkpoint, wish: Wish, harms: Mapping[Unit, Mapping[str, float]]) -> dict[str, Rounding]:
    """By weight, the widths of least harm in sum that fit what was asked for."""
    ways = list(wish.widths.values())
    counts = [sum(source.tensors[name].count for name in unit) for unit in harms]
    costs = [[count * way.bits // 8 for way in ways] for count in counts]
    chosen = allot(costs, [[each[name] for name in wish.widths] for each in harms.values()], _room(source, wish, harms))
    if chosen is None:
        least = sum(each[0] for each in costs) + _beside(source, wish, harms)
        raise BadInputError(
            f"{wish.to} is too little: with {next(iter(wish.widths))} everywhere it takes {si(least, 'B', 4)}.",
            "give more, or larger groups.",
        )
    return {name: ways[number] for unit, number in zip(harms, chosen, strict=True) for name in unit}


def most_byte(source: Checkpoint, wish: Wish, rounded: Iterable[str]) -> int:
    """The most bytes that all tensors take whatever widths are chosen, given the weights that are rounded."""
    units = [(name,) for name in rounded]
    widest = sum(source.tensors[name].count for (name,) in units) * wish.rounding.bits // 8
    return min(_room(source, wish, units), widest) + _beside(source, wish, units)


def _room(source: Checkpoint, wish: Wish, units: Iterable[Unit]) -> int:
    """Bytes for the codes of all rounded weights together."""
    if wish.byte is not None:
        return wish.byte - _beside(source, wish, units)
    count = sum(source.tensors[name].count for unit in units for name in unit)
    return int(count * (wish.bits or 0) / 8)


def _beside(source: Checkpoint, wish: Wish, units: Iterable[Unit]) -> int:
    """Bytes of all that is written beside codes."""
    rounded = {name for unit in units for name in unit}
    kept = sum(each.byte for name, each in source.tensors.items() if name not in rounded)
    return kept + sum(_scale_byte(source, wish, name) for name in rounded)


def _scale_byte(source: Checkpoint, wish: Wish, name: str) -> int:
    each = source.tensors[name]
    shape: Sequence[int] = each.shape
    _, *others = pieces(name, (shape[0], shape[1]), each.dtype, wish.rounding)
    return sum(piece.byte for piece in others)
