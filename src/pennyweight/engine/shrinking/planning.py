"""What will be written, byte for byte, and how much memory that takes: all of it known from the heads of the shards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from itertools import starmap
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.kinds import rounding_for
from pennyweight.backends.large.packed import described, pieces
from pennyweight.backends.large.rounding import TILE_BYTE
from pennyweight.engine.shrinking.choosing import Choice, choose
from pennyweight.errors import BadInputError
from pennyweight.store.checkpoints import Checkpoint, Entry, Outline, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pennyweight.backends.large.rounding import Rounding

PIECE_BYTE = 1 << 23  # of weights that are read at a time
WORKERS, SLOTS = 2, 6
_SPARE_BYTE = 32 << 20  # threads, heads of shards, what the allocator keeps


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `to` what, weights per scale, parts of names to keep, bytes of an output shard."""

    to: str = "int4"
    group: int | None = None
    keep: tuple[str, ...] = ()
    any_: bool = False
    shard_byte: int = 1_000_000_000

    def __post_init__(self) -> None:
        rounding_for(self.to, self.group)
        if self.shard_byte <= 0:
            raise BadInputError("A shard holds at least one byte.", "give a size such as 1GB.")

    @property
    def rounding(self) -> Rounding:
        """How weights are rounded."""
        return rounding_for(self.to, self.group)


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """What a tensor of the output is made of: `part` is packed, scale or shape of a rounded one, or it is kept."""

    part: str
    tensor: Tensor


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: shards, where each of their tensors comes from, the new config."""

    source: Checkpoint
    wish: Wish
    choice: Choice
    shards: tuple[Outline, ...]
    origins: dict[str, Origin]

    @property
    def byte(self) -> int:
        """Bytes of all tensors that will be written."""
        return sum(shard.byte for shard in self.shards)

    @property
    def work_byte(self) -> int:
        """The most memory that the work itself holds at a time: what is read, what is made, scales of one shard."""
        slot = PIECE_BYTE + PIECE_BYTE // 2 + PIECE_BYTE // self.wish.rounding.group
        held = max(sum(e.byte for e in shard.entries if self.origins[e.name].part == "scale") for shard in self.shards)
        return SLOTS * slot + WORKERS * TILE_BYTE + held + _SPARE_BYTE

    @property
    def config(self) -> dict[str, Any]:
        """What the new config.json says."""
        return {**self.source.config, "quantization_config": described(self.wish.rounding, self.choice.ignored)}

    @property
    def key(self) -> str:
        """What tells this work from any other: the source's tensors, its files' sizes and times, and the wish."""
        files = {
            path.name: (facts.st_size, facts.st_mtime_ns) for path in self.source.shards for facts in [path.stat()]
        }
        heads = [(each.name, each.dtype, each.shape, each.file.name, each.start) for each in self._tensors()]
        wish = (self.wish.to, self.wish.group, self.wish.keep, self.wish.any_, self.wish.shard_byte)
        said = json.dumps([files, heads, wish, self.source.config], sort_keys=True)
        return sha256(said.encode()).hexdigest()

    @property
    def index(self) -> dict[str, Any]:
        """What the new index says."""
        where = {entry.name: shard.file for shard in self.shards for entry in shard.entries}
        return {"metadata": {"total_size": self.byte}, "weight_map": dict(sorted(where.items()))}

    def _tensors(self) -> Iterator[Tensor]:
        return iter(self.source.tensors.values())


def plan(folder: Path, wish: Wish) -> Plan:
    """Plan to round the checkpoint in `folder`; only heads of shards are read.

    Raises `BadInputError`, `CorruptError` or `NoEffectError` for what cannot be done, as far as heads tell.
    """
    source = Checkpoint.at(folder)
    choice = choose(source, wish.rounding, wish.keep, any_=wish.any_)
    origins: dict[str, Origin] = {}
    shards: list[list[Entry]] = [[]]
    held = 0
    for tensor in source.tensors.values():
        made = _made(tensor, choice, wish.rounding)
        size = sum(entry.byte for entry, _ in made)
        if shards[-1] and held + size > wish.shard_byte:
            shards.append([])
            held = 0
        held += size
        for entry, part in made:
            if entry.name in origins:
                raise BadInputError(f"Two tensors would be called {entry.name!r}.", "give the original checkpoint.")
            origins[entry.name] = Origin(part, tensor)
            shards[-1].append(entry)
    count = len(shards)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    outlines = tuple(starmap(Outline.of, zip(names, shards, strict=True)))
    return Plan(source, wish, choice, outlines, origins)


def _made(tensor: Tensor, choice: Choice, rounding: Rounding) -> list[tuple[Entry, str]]:
    if tensor.name not in choice.rounded:
        return [(Entry(tensor.name, tensor.dtype, tensor.shape, tensor.byte), "kept")]
    made = pieces(tensor.name, (tensor.shape[0], tensor.shape[1]), tensor.dtype, rounding)
    parts = ("packed", "scale", "shape")[: len(made)]
    return [(Entry(p.name, p.dtype, p.shape, p.byte), part) for p, part in zip(made, parts, strict=True)]
