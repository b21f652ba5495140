"""What will be written, byte for byte: every tensor's place, and the head of the file, from heads of shards alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.ggml import FACTORS, KINDS, Place, byte_of, load_gguf, place_of, shapes_of
from pennyweight.backends.large.ggml_facts import facts_of
from pennyweight.backends.large.rounding import FLOATS
from pennyweight.engine.gguf.describing import architecture_of, described
from pennyweight.engine.gguf.wording import words_in
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.checkpoints import Checkpoint, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.backends.large.ggml_facts import Facts
    from pennyweight.backends.large.ggml_words import Words

PIECE = 1 << 20  # numbers worked on at a time
ALIGNED = 32  # where tensors begin
_NUMBER_BYTE = 40  # of all that is held for a number on its way
_WORD_BYTE = 2000  # of all that is held for a token, most of it while the file is read back
_SPARE_BYTE = 48 << 20
_CONSTANT = ("rotary_emb.inv_freq",)
_AGAIN = "download config.json and weights of one version of the model."


@final
@dataclass(frozen=True, slots=True)
class Target:
    """A tensor of the file: where it goes, its shape as the checkpoint has it, what it is made of, its bytes.

    `origin` is a stored tensor, or an array that is written as it is.
    """

    place: Place
    shape: tuple[int, ...]
    origin: Tensor | NDArray[np.float32]
    byte: int

    @property
    def padded(self) -> int:
        """Its bytes and those up to the next tensor."""
        return -(-self.byte // ALIGNED) * ALIGNED

    @property
    def columns(self) -> int:
        """Numbers of a row; a vector that moves is rows of one number."""
        return 1 if self.place.turned and len(self.shape) == 1 else self.shape[-1]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(np.prod(self.shape, dtype=np.int64)) // self.columns

    @property
    def step(self) -> int:
        """Rows of a piece: whole heads where rows move."""
        least = self.place.turned or 1
        return max(PIECE // self.columns // least, 1) * least

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Rows from where to where are worked on together."""
        for at in range(0, self.rows, self.step):
            yield at, min(at + self.step, self.rows)


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: the head of the file, then its tensors in order."""

    source: Checkpoint
    facts: Facts
    words: Words
    to: str
    targets: tuple[Target, ...]
    head: bytes

    @property
    def byte(self) -> int:
        """Bytes of the file."""
        return len(self.head) + sum(target.padded for target in self.targets)

    @property
    def work_byte(self) -> int:
        """The most memory that the work itself holds at a time."""
        widest = max(target.step * target.columns for target in self.targets)
        return widest * _NUMBER_BYTE + len(self.words.tokens) * _WORD_BYTE + _SPARE_BYTE


def plan(folder: Path, to: str = "f16") -> Plan:
    """Plan to write the checkpoint in `folder` as `to`: f16, bf16, q8_0 or q4_0; only heads and words are read.

    Raises `BadInputError` for a model that llama.cpp would run otherwise, or weights that are not as config.json says,
    `CorruptError` for damaged files, `MissingExtraError` without the libraries.
    """
    if to not in KINDS:
        raise UnknownNameError.of("kind of GGUF weights", to, KINDS)
    load_gguf()
    source = Checkpoint.at(folder)
    facts = facts_of(source.config)
    tensors = _needed(source, facts)
    words = words_in(source, tensors["model.embed_tokens.weight"].shape[0])
    names = load_gguf().get_tensor_name_map(architecture_of(facts), facts.block_count)
    targets = [_target(tensor, place_of(name, tensor.shape, facts, names, to)) for name, tensor in tensors.items()]
    factors = facts.rope.factors(facts.head_length)
    if factors is not None:
        targets.insert(0, Target(Place(FACTORS, "F32"), factors.shape, factors, factors.nbytes))
    outline = [(each.place.name, each.shape, each.place.kind, each.byte) for each in targets]
    head = described(source.folder.resolve().name, facts, words, to, outline)
    return Plan(source, facts, words, to, tuple(targets), head)


def _target(tensor: Tensor, place: Place) -> Target:
    return Target(place, tensor.shape, tensor, byte_of(tensor.shape, place.kind))


def _needed(source: Checkpoint, facts: Facts) -> dict[str, Tensor]:
    """The tensors that are written, in the order of the model; all others must be known to be constants."""
    held = {name: each for name, each in source.tensors.items() if not name.endswith(_CONSTANT)}
    if facts.tied:
        held.pop("lm_head.weight", None)
    wanted = shapes_of(facts, {name: each.shape for name, each in held.items()})
    for name, shape in wanted.items():
        if name not in held or held[name].shape != shape:
            given = held[name].shape if name in held else "missing"
            raise BadInputError(f"The tensor {name!r} is {given}, by config.json it is {shape}.", _AGAIN)
        if held[name].dtype not in FLOATS:
            raise BadInputError(
                f"The tensor {name!r} is of the type {held[name].dtype}.", f"give one of {', '.join(FLOATS)}."
            )
    odd = sorted(held.keys() - wanted.keys())
    if odd:
        raise BadInputError(
            f"llama.cpp has no place for {len(odd)} tensors, such as {odd[0]!r}.",
            "give a plain language model of that family.",
        )
    return {name: held[name] for name in wanted}
