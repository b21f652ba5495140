"""Reading back: every shard is what was written, every kept tensor the same, every rounded weight nearly."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.decoders import BEFORE
from pennyweight.backends.large.kinds import restored
from pennyweight.backends.large.packed import EVERY, pieces, roundings_of
from pennyweight.backends.large.rounding import FLOATS, TILE, Rounding, as_float32, bits_in
from pennyweight.engine.shrinking.choosing import block_of
from pennyweight.engine.shrinking.run import written
from pennyweight.engine.shrinking.streaming import fill
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.checkpoints import Checkpoint
from pennyweight.store.checkpoints.writing import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.store.checkpoints import Tensor

_AGAIN = "write that folder again with --force."


@final
@dataclass(frozen=True, slots=True)
class Checked:
    """How far rounded weights are from those they were made of: |made - given| / |given|, by tensor and by block.

    Lengths are Euclidean. `blocks` are those of the model; `whole` is of all rounded weights together. Of awq nothing
    is said, as its weights are of another scale. `errors` of outputs are those that were measured when it was made.
    """

    whole: float
    blocks: dict[int, float]
    tensors: dict[str, float]
    shards: int
    same: int
    errors: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def check(folder: Path, made: Path, watch: Callable[[int], None] = lambda _: None) -> Checked:
    """Read `made` back and compare it with `folder`, the checkpoint it was made of, tile by tile.

    Raises `CorruptError` for a shard that is not what was written or a kept tensor that is not the same.
    """
    noted = written(made)
    source, new = Checkpoint.at(folder), Checkpoint.at(made)
    ways = roundings_of(new.config)
    if ways is None:
        raise BadInputError(f"config.json of {made} does not say how its weights were rounded.", _AGAIN)
    for name, sha in noted.shards.items():
        if not (made / name).is_file() or digest(made / name) != sha:
            raise CorruptError(f"The shard {made / name} is not what was written.", _AGAIN)
    sums: dict[str, tuple[float, float]] = {}
    same = 0
    with ExitStack() as stack:
        reader = _Reader(stack)
        for name, tensor in source.tensors.items():
            if name in new.tensors:
                if noted.method != "awq" or not _is_scaled(tensor):
                    _check_same(reader, tensor, new.tensors[name])
                    same += 1
            elif (parts := _parts(new, tensor, way := _way(ways, name))) and noted.method != "awq":
                sums[name] = _apart(reader, tensor, parts, way)
            watch(tensor.byte)
    blocks, whole = _summed(source, sums)
    tensors = {name: _relative(*each) for name, each in sums.items()}
    return Checked(whole, blocks, tensors, len(noted.shards), same, noted.errors)


def _way(ways: Mapping[str, Rounding], name: str) -> Rounding:
    found = ways.get(name.removesuffix(".weight"), ways.get(EVERY))
    if found is None:
        raise CorruptError(f"config.json does not say how {name!r} was rounded, and it is not there.", _AGAIN)
    return found


def _is_scaled(tensor: Tensor) -> bool:
    """Whether awq may have divided that norm."""
    return len(tensor.shape) == 1 and tensor.name.removesuffix(".weight").endswith(BEFORE)


def _summed(source: Checkpoint, sums: dict[str, tuple[float, float]]) -> tuple[dict[int, float], float]:
    blocks: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for name, each in sums.items():
        number = block_of(source, name)
        if number is not None:
            blocks[number].append(each)
    by_block = {number: _relative(*map(sum, zip(*several, strict=True))) for number, several in sorted(blocks.items())}
    whole = _relative(*map(sum, zip(*sums.values(), strict=True))) if sums else 0.0
    return by_block, whole


def _relative(apart: float, given: float) -> float:
    return math.sqrt(apart / given) if given else 0.0


def _parts(new: Checkpoint, tensor: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor]:
    wanted = pieces(tensor.name, (tensor.shape[0], tensor.shape[1]), tensor.dtype, rounding)
    for piece in wanted:
        found = new.tensors.get(piece.name)
        if found is None or (found.dtype, found.shape) != (piece.dtype, piece.shape):
            raise CorruptError(f"{new.folder} has no {piece.name!r} of the right type and shape.", _AGAIN)
    return new.tensors[wanted[0].name], new.tensors[wanted[1].name]


@final
class _Reader:
    """Parts of tensors as bytes, from files that are opened once."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._handles = stack, dict[str, int]()

    def tiles(self, tensor: Tensor, step: int) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a tensor, `step` at a time."""
        key = str(tensor.file)
        if key not in self._handles:
            self._handles[key] = os.open(tensor.file, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, self._handles[key])
        for at in range(0, tensor.byte, step):
            room = np.empty(min(step, tensor.byte - at), np.uint8)
            fill(self._handles[key], room, tensor, at)
            yield room


def _check_same(reader: _Reader, old: Tensor, new: Tensor) -> None:
    alike = (old.dtype, old.shape) == (new.dtype, new.shape)
    pairs = zip(reader.tiles(old, TILE), reader.tiles(new, TILE), strict=True) if alike else ()
    if not alike or not all(starmap(np.array_equal, pairs)):
        raise CorruptError(f"The tensor {old.name!r} was to be kept, but it is another.", _AGAIN)


def _apart(reader: _Reader, tensor: Tensor, parts: tuple[Tensor, Tensor], rounding: Rounding) -> tuple[float, float]:
    """The squared lengths of the difference, and of what was given."""
    width, tile = FLOATS[tensor.dtype], TILE // rounding.group * rounding.group
    packed, scales = parts
    steps = zip(
        reader.tiles(tensor, tile * width),
        reader.tiles(packed, tile * rounding.bits // 8),
        reader.tiles(scales, tile // rounding.group * rounding.scale_byte(tensor.dtype)),
        strict=True,
    )
    apart = given = 0.0
    for raw, codes, scale in steps:
        weights = np.empty(len(raw) // width, np.float32)
        as_float32(bits_in(raw, tensor.dtype), tensor.dtype, weights)
        given += float(np.dot(weights, weights))
        weights -= restored(codes, scale, tensor.dtype, rounding)
        apart += float(np.dot(weights, weights))
    return apart, given
