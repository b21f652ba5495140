"""What will be written, byte for byte, and how much memory that takes: all of it known from the heads of the shards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.decoders import check_decoder
from pennyweight.backends.large.packed import described, described_mixed, pieces
from pennyweight.engine.shrinking.budgeting import guessed, most_byte
from pennyweight.engine.shrinking.choosing import Choice, block_of, choose
from pennyweight.engine.shrinking.memory import work_byte
from pennyweight.errors import BadInputError
from pennyweight.store.checkpoints import Checkpoint, Entry, Outline, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pennyweight.backends.large.rounding import Rounding
    from pennyweight.engine.shrinking.wish import Wish


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """What a tensor of the output is made of: `part` is packed, scale or shape of a rounded one, or it is kept."""

    part: str
    tensor: Tensor


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: shards, where each of their tensors comes from, the new config.

    With a calibration the last `pressed` shards hold one block each, in the order of the model. `widths` are those of
    weights that are not all rounded alike; until `settled` they are guessed, for their size alone, which stays within
    what was asked for.
    """

    source: Checkpoint
    wish: Wish
    choice: Choice
    shards: tuple[Outline, ...]
    origins: dict[str, Origin]
    pressed: int = 0
    widths: Mapping[str, Rounding] = field(default_factory=dict)
    settled: bool = True

    @property
    def streamed(self) -> tuple[Outline, ...]:
        """The shards that are made piece by piece."""
        return self.shards[: len(self.shards) - self.pressed]

    @property
    def blocks(self) -> tuple[Outline, ...]:
        """The shards that are made with a text, one for each block."""
        return self.shards[len(self.shards) - self.pressed :]

    def rounding(self, name: str) -> Rounding:
        """How the weight of that name is rounded."""
        return self.widths.get(name, self.wish.rounding)

    @property
    def byte(self) -> int:
        """Bytes of all tensors that will be written."""
        return sum(shard.byte for shard in self.shards)

    @property
    def most_byte(self) -> int:
        """The most bytes of all tensors, whatever widths will be chosen."""
        return self.byte if self.settled else most_byte(self.source, self.wish, self.choice.rounded)

    @property
    def sensed_byte(self) -> int:
        """Bytes of the checkpoint that are read to choose widths: all blocks, forwards and backwards."""
        if self.settled:
            return 0
        tensors = {origin.tensor.name: origin.tensor.byte for each in self.blocks for origin in self._origins(each)}
        return 2 * sum(tensors.values())

    @property
    def work_byte(self) -> int:
        """The most memory that the work itself holds at a time."""
        return work_byte(self)

    @property
    def config(self) -> dict[str, Any]:
        """What the new config.json says."""
        made = described(self.wish.rounding, self.choice.ignored)
        if self.widths:
            layers = {name.removesuffix(".weight"): way for name, way in self.widths.items()}
            made = described_mixed(layers, self.choice.ignored)
        return {**self.source.config, "quantization_config": made}

    @property
    def key(self) -> str:
        """What tells this work from any other: the source's tensors, its files' sizes and times, and the wish.

        With a text its tokenizer, too: what was fitted to other tokens is not gone on with. And widths, once chosen.
        """
        files = {
            path.name: (facts.st_size, facts.st_mtime_ns) for path in self.source.shards for facts in [path.stat()]
        }
        heads = [(each.name, each.dtype, each.shape, each.file.name, each.start) for each in self._tensors()]
        text = self.wish.calibration
        words = [text.read_by(self.source.folder)] if text is not None else []
        chosen = [{name: way.bits for name, way in self.widths.items()}] if self.widths and self.settled else []
        said = json.dumps([files, heads, self.wish.said, self.source.config, *words, *chosen], sort_keys=True)
        return sha256(said.encode()).hexdigest()

    @property
    def index(self) -> dict[str, Any]:
        """What the new index says."""
        where = {entry.name: shard.file for shard in self.shards for entry in shard.entries}
        return {"metadata": {"total_size": self.byte}, "weight_map": dict(sorted(where.items()))}

    def _origins(self, outline: Outline) -> Iterator[Origin]:
        return (self.origins[entry.name] for entry in outline.entries)

    def _tensors(self) -> Iterator[Tensor]:
        return iter(self.source.tensors.values())


def plan(folder: Path, wish: Wish) -> Plan:
    """Plan to round the checkpoint in `folder`; only heads of shards are read.

    Raises `BadInputError`, `CorruptError` or `NoEffectError` for what cannot be done, as far as heads tell.
    """
    source = Checkpoint.at(folder)
    choice = choose(source, wish.rounding, wish.keep, any_=wish.any_)
    return laid(source, wish, choice, guessed(source, wish, choice) if wish.mixed else {}, settled=not wish.mixed)


def laid(source: Checkpoint, wish: Wish, choice: Choice, widths: Mapping[str, Rounding], *, settled: bool) -> Plan:
    """The plan to round what was chosen, to `widths` or all alike."""
    ways = {name: widths.get(name, wish.rounding) for name in choice.rounded}
    outside, blocks = _parted(source, wish, choice)
    shards = [*_chunks(outside, wish.shard_byte, ways), *blocks]
    origins: dict[str, Origin] = {}
    outlines = []
    for number, tensors in enumerate(shards, 1):
        made = [(tensor, each) for tensor in tensors for each in _made(tensor, ways)]
        for tensor, (entry, part) in made:
            if entry.name in origins:
                raise BadInputError(f"Two tensors would be called {entry.name!r}.", "give the original checkpoint.")
            origins[entry.name] = Origin(part, tensor)
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        outlines.append(Outline.of(name, [entry for _, (entry, _) in made]))
    return Plan(source, wish, choice, tuple(outlines), origins, len(blocks), widths, settled)


def _parted(source: Checkpoint, wish: Wish, choice: Choice) -> tuple[list[Tensor], list[list[Tensor]]]:
    """The tensors that are streamed, and those of each block that is made with a text."""
    if wish.calibration is None:
        return list(source.tensors.values()), []
    check_decoder(source.config)
    blocks: dict[int, list[Tensor]] = {}
    outside = []
    for tensor in source.tensors.values():
        number = block_of(source, tensor.name)
        if number is None:
            outside.append(tensor)
        else:
            blocks.setdefault(number, []).append(tensor)
    for number, tensors in blocks.items():
        if not any(tensor.name in choice.rounded for tensor in tensors):
            raise BadInputError(f"Nothing of block {number} would be rounded.", "keep less, or leave --calibrate out.")
    return outside, [blocks[number] for number in sorted(blocks)]


def _chunks(tensors: Iterable[Tensor], most: int, ways: Mapping[str, Rounding]) -> list[list[Tensor]]:
    """The tensors of each shard, in order, as many as it may hold."""
    shards: list[list[Tensor]] = []
    held = 0
    for tensor in tensors:
        size = sum(entry.byte for entry, _ in _made(tensor, ways))
        if not shards or held + size > most:
            shards.append([])
            held = 0
        held += size
        shards[-1].append(tensor)
    return shards


def _made(tensor: Tensor, ways: Mapping[str, Rounding]) -> list[tuple[Entry, str]]:
    if tensor.name not in ways:
        return [(Entry(tensor.name, tensor.dtype, tensor.shape, tensor.byte), "kept")]
    made = pieces(tensor.name, (tensor.shape[0], tensor.shape[1]), tensor.dtype, ways[tensor.name])
    parts = ("packed", "scale", "shape")[: len(made)]
    return [(Entry(p.name, p.dtype, p.shape, p.byte), part) for p, part in zip(made, parts, strict=True)]
