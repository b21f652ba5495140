"""A checkpoint of a decoder, part by part: its embedding, one block at a time, its last norm and its head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.families import family_of
from pennyweight.engine.cutting.reading import is_float
from pennyweight.engine.shrinking.calibrating import LENGTH
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.engine.cutting.reading import Reader
    from pennyweight.store.checkpoints import Checkpoint, Tensor

_EMBEDDING, _HEAD, _NORM = "embed_tokens.weight", "lm_head.weight", "norm.weight"
_USUAL_EPSILON = 1e-6
_AGAIN = "download config.json and weights of one version of the model."


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """Names of tensors: `blocks` by number, each by its names within it; `outside` all others; `prefix` of blocks."""

    prefix: str
    blocks: tuple[Mapping[str, Tensor], ...]
    outside: tuple[Tensor, ...]

    @classmethod
    def of(cls, source: Checkpoint, layers: int) -> Parts:
        """Sort the tensors of a checkpoint of so many blocks; raises `BadInputError` if some are missing or differ."""
        family, prefix = family_of(source.config), ""
        blocks: dict[int, dict[str, Tensor]] = {}
        outside: list[Tensor] = []
        for name, tensor in source.tensors.items():
            number = family.block_of(name)
            if number is None:
                outside.append(tensor)
                continue
            prefix, _, local = name.partition(f".{number}.")
            blocks.setdefault(number, {})[local] = tensor
        if set(blocks) != set(range(layers)):
            raise BadInputError(
                f"config.json says that there are {layers} blocks, but weights are there of {len(blocks)}.", _AGAIN
            )
        _check_alike(blocks)
        return cls(prefix, tuple(blocks[number] for number in range(layers)), tuple(outside))


def _check_alike(blocks: Mapping[int, Mapping[str, Tensor]]) -> None:
    first = {local: (each.dtype, each.shape) for local, each in blocks[0].items()}
    for number, tensors in sorted(blocks.items()):
        if {local: (each.dtype, each.shape) for local, each in tensors.items()} != first:
            raise BadInputError(f"Block {number} holds other tensors than block 0.", _AGAIN)
    other = next((each for each in blocks[0].values() if not is_float(each)), None)
    if other is not None:
        raise BadInputError(
            f"The weight {other.name!r} is of the type {other.dtype}, which is not computed with.",
            "give a checkpoint in BF16, F16 or F32.",
        )


@final
@dataclass(slots=True)
class Model:
    """The parts of `source` as float32, read when they are asked for."""

    source: Checkpoint
    parts: Parts
    reader: Reader
    _norm: list[Values] = field(default_factory=list)

    @property
    def layers(self) -> int:
        """How many blocks there are."""
        return len(self.parts.blocks)

    def weights(self, number: int) -> dict[str, Values]:
        """The weights of a block by their names within it."""
        return {local: self.reader.values(each) for local, each in self.parts.blocks[number].items()}

    def embedded(self, tokens: NDArray[np.int64]) -> Values:
        """The states (tokens, hidden) that go into the first block; raises `BadInputError` for unknown tokens."""
        table = self._outside(_EMBEDDING)
        if int(tokens.max()) >= table.shape[0]:
            raise BadInputError(
                f"The tokenizer knows more than the {table.shape[0]} words of the model.",
                "download tokenizer.json and weights of one version of the model.",
            )
        return self.reader.row_values(table, tokens)

    def normed(self, states: Values) -> Values:
        """What the head reads, of what comes out of the last block."""
        import torch

        if not self._norm:
            self._norm.append(self.reader.values(self._outside(_NORM)))
        said = self.source.config.get("rms_norm_eps")
        epsilon = float(said) if isinstance(said, int | float) else _USUAL_EPSILON
        return states * torch.rsqrt(states.square().mean(-1, keepdim=True) + epsilon) * self._norm[0]

    def head(self, byte: int) -> Iterator[tuple[int, Values]]:
        """Rows of the head, at most so many bytes of them at a time, with the number of the first."""
        tied = bool(self.source.config.get("tie_word_embeddings"))
        table = self._outside(_EMBEDDING if tied else _HEAD)
        step = max(1, byte // (4 * max(table.shape[1], LENGTH)))  # what they say of a text is no more either
        for first in range(0, table.shape[0], step):
            yield first, self.reader.row_values(table, np.arange(first, min(first + step, table.shape[0])))

    def _outside(self, end: str) -> Tensor:
        found = next((each for each in self.parts.outside if each.name.endswith(end)), None)
        if found is None or not is_float(found):
            raise BadInputError(f"{self.source.folder} holds no {end!r}.", "download the whole model.")
        return found
