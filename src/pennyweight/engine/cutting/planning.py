"""What will be written, byte for byte, known from the heads of the shards (and of a vocabulary from its text)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.decoders import DECODERS
from pennyweight.engine.cutting.blockwise import Parts
from pennyweight.engine.cutting.memory import work_byte
from pennyweight.engine.cutting.shaping import Shape
from pennyweight.engine.cutting.tables import is_table, tables_of
from pennyweight.engine.cutting.words import words_of
from pennyweight.errors import BadInputError
from pennyweight.store.checkpoints import SIZES, Checkpoint, Entry, Outline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.engine.cutting.wish import Wish
    from pennyweight.engine.cutting.words import Words
    from pennyweight.store.checkpoints import Tensor

_SHARD_BYTE = 1_000_000_000
_TOKENIZER = "tokenizer.json"


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: shards of what is `outside` of blocks, then one for each of the `blocks` that stay.

    `before` and `after` are shapes of the model; None if only tokens go. `words` are the tokens that stay, None if all
    do.
    """

    source: Checkpoint
    wish: Wish
    parts: Parts | None
    before: Shape | None
    after: Shape | None
    words: Words | None
    outside: tuple[Outline, ...]
    blocks: tuple[Outline, ...]

    @property
    def shards(self) -> tuple[Outline, ...]:
        """All of them, in the order of their names."""
        return (*self.outside, *self.blocks)

    @property
    def byte(self) -> int:
        """Bytes of all tensors that will be written."""
        return sum(shard.byte for shard in self.shards)

    @property
    def parameters(self) -> int:
        """Numbers in all tensors that will be written."""
        return sum(prod(entry.shape) for shard in self.shards for entry in shard.entries)

    @property
    def work_byte(self) -> int:
        """The most memory that the work itself holds at a time."""
        return work_byte(self)

    @property
    def key(self) -> str:
        """What tells this work from any other: the source's tensors, its files' sizes and times, and the wish."""
        files = {path.name: (told.st_size, told.st_mtime_ns) for path in self.source.shards for told in [path.stat()]}
        heads = [(each.name, each.dtype, each.shape, each.start) for each in self.source.tensors.values()]
        wish, texts = self.wish, list[Any]()
        if wish.calibration is not None:
            texts += [wish.calibration.sha256, wish.calibration.tokens, wish.calibration.read_by(self.source.folder)]
        if self.words is not None:
            texts.append(sha256(self.words.files[_TOKENIZER]).hexdigest())
        wished = [wish.layers, wish.ffn, wish.heads, wish.by, wish.mend]
        said = json.dumps([files, heads, wished, texts, self.source.config], sort_keys=True)
        return sha256(said.encode()).hexdigest()

    def config(self, kept: Sequence[int]) -> dict[str, Any]:
        """What the new config.json says if the blocks `kept` stay."""
        said = dict(self.source.config)
        if self.after is not None:
            said = self.after.written(said, kept)
        return said if self.words is None else self.words.written(said)

    @property
    def index(self) -> dict[str, Any]:
        """What the new index says."""
        where = {entry.name: shard.file for shard in self.shards for entry in shard.entries}
        return {"metadata": {"total_size": self.byte}, "weight_map": dict(sorted(where.items()))}


def plan(folder: Path, wish: Wish) -> Plan:
    """Plan to cut the checkpoint in `folder`; of its shards only heads are read.

    Raises `BadInputError`, `CorruptError` or `NoEffectError` for what cannot be done, as far as can be known before.
    """
    source = Checkpoint.at(folder)
    if "quantization_config" in source.config:
        raise BadInputError(f"The weights of {folder} are rounded already.", "give the original checkpoint.")
    parts = before = after = words = None
    if wish.is_read:
        before, parts = _parted(source)
        after = before.cut(wish, source.config)
        _check_shapes(parts, before)
    if wish.vocab is not None:
        words = words_of(source, wish.vocab, tables_of(source))
    others = parts.outside if parts else tuple(source.tensors.values())
    outside = _outside(others, words)
    blocks = _blocks(parts, after) if parts and after else []
    shards = [*outside, *blocks]
    made = [
        Outline.of(f"model-{number:05d}-of-{len(shards):05d}.safetensors", entries)
        for number, entries in enumerate(shards, 1)
    ]
    return Plan(source, wish, parts, before, after, words, tuple(made[: len(outside)]), tuple(made[len(outside) :]))


def _parted(source: Checkpoint) -> tuple[Shape, Parts]:
    kind = str(source.config.get("model_type"))
    if kind not in DECODERS:
        raise BadInputError(
            f"Blocks of the architecture {kind!r} cannot be computed one by one here, so nothing in them can be cut.",
            f"give a model of {', '.join(sorted(DECODERS))}, or --vocab alone.",
        )
    if not (source.folder / _TOKENIZER).is_file():
        raise BadInputError(f"{source.folder} has no {_TOKENIZER}.", "download it with the model.")
    shape = Shape.of(source.config)
    return shape, Parts.of(source, shape.layers)


def _check_shapes(parts: Parts, shape: Shape) -> None:
    """Refuse a config that says other shapes than the weights have."""
    for local, tensor in parts.blocks[0].items():
        wanted = shape.of_tensor(local, tensor.shape)
        if wanted != tensor.shape:
            raise BadInputError(
                f"{tensor.name!r} is of the shape {' x '.join(map(str, tensor.shape))}, but config.json says "
                f"{' x '.join(map(str, wanted))}.",
                "download config.json and weights of one version of the model.",
            )


def _outside(tensors: Sequence[Tensor], words: Words | None) -> list[list[Entry]]:
    """The tensors outside of blocks by shard, as many as one may hold."""
    shards: list[list[Entry]] = []
    held = 0
    for tensor in tensors:
        shape = tensor.shape
        if words is not None and is_table(tensor.name):
            shape = (len(words.kept), *shape[1:])
        entry = Entry(tensor.name, tensor.dtype, shape, prod(shape) * SIZES[tensor.dtype])
        if not shards or held + entry.byte > _SHARD_BYTE:
            shards.append([])
            held = 0
        held += entry.byte
        shards[-1].append(entry)
    return shards


def _blocks(parts: Parts, after: Shape) -> list[list[Entry]]:
    made = []
    for place in range(after.layers):
        entries = []
        for local, tensor in parts.blocks[0].items():
            shape = after.of_tensor(local, tensor.shape)
            byte = prod(shape) * SIZES[tensor.dtype]
            entries.append(Entry(f"{parts.prefix}.{place}.{local}", tensor.dtype, shape, byte))
        made.append(entries)
    return made
