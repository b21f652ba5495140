"""Block after block: read, rounded by what texts bring to it, written, and passed through with its new weights.

A block's shard is entered in the journal after the states that go into the next block are on the disk, so whatever
moment a run is cut off at, the next one finds where to go on; without states all blocks are done again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.decoders import Decoder
from pennyweight.backends.large.grids import torch_type
from pennyweight.engine.shrinking.calibrating import is_held
from pennyweight.engine.shrinking.pressing import Press, Way
from pennyweight.engine.shrinking.states import Shape, States, Writing, forget
from pennyweight.engine.shrinking.streaming import fill
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.checkpoints import Shard
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.store.checkpoints import Outline, Tensor
    from pennyweight.store.checkpoints.journal import Journal

_EMBEDDING = "embed_tokens.weight"


def press_blocks(plan: Plan, journal: Journal, watch: Callable[[int], None]) -> tuple[int, dict[str, float]]:
    """Write the shards of all blocks that are not finished; how many were, and the errors of all layers.

    Raises `BadInputError` for a text or tokenizer that does not go with the model, `CorruptError` for weights that are
    no finite numbers.
    """
    import torch

    with torch.no_grad():
        blocks = _Blocks(plan, journal, watch)
        kept, states = blocks.begun()
        for number in range(kept, len(plan.blocks)):
            states = blocks.press(number, states)
    return kept, states.errors


@final
class _Blocks:
    """The blocks of a plan, one of them in memory at a time."""

    def __init__(self, plan: Plan, journal: Journal, watch: Callable[[int], None]) -> None:
        self._plan, self._journal, self._watch = plan, journal, watch
        self._decoder = Decoder(plan.source.config)
        if plan.wish.calibration is None:
            raise ValueError("blocks are pressed with a text only")
        self._tokens = plan.wish.calibration.sequences(plan.source.folder, plan.source.config)
        self._shape: Shape = (len(self._tokens), self._tokens.shape[1], self._decoder.hidden)
        held = sum(map(is_held, range(len(self._tokens))))
        self._way = Way(plan.wish.method, plan.wish.rounding, (len(self._tokens) - held) * self._tokens.shape[1])

    def begun(self) -> tuple[int, States]:
        """How many blocks are finished, and the states that go into the next."""
        done = 0
        for outline in self._plan.blocks:
            if not self._journal.whole(outline.file):
                break
            done += 1
        found = States.found(self._journal.folder, done, self._going_into(done)) if done else None
        if found is None:
            forget(self._journal.folder)
            return 0, self._embedded()
        for outline in self._plan.blocks[:done]:
            self._watch(sum(each.byte for each in self._tensors(outline).values()))
        return done, found

    def press(self, number: int, states: States) -> States:
        """Do one block; the states that go into the next."""
        outline = self._plan.blocks[number]
        sources = self._tensors(outline)
        weights = {_local(name, number): _read(each) for name, each in sources.items()}
        for name, each in sources.items():
            if not bool(weights[_local(name, number)].isfinite().all()):
                raise CorruptError(
                    f"A weight of {name!r} in {each.file} is infinite or no number.", "download it again."
                )
        layer = self._decoder.block(number, weights)
        dtypes = {_local(name, number): each.dtype for name, each in sources.items()}
        rounded = {
            _local(name, number).removesuffix(".weight") for name in sources if name in self._plan.choice.rounded
        }
        made = Press(self._way, layer, weights, dtypes, frozenset(rounded))
        made.press(lambda each: self._decoder.run(layer, number, each), lambda: self._texts(states))
        prefix = next(iter(sources)).partition(f".{number}.")[0]
        errors = states.errors | {f"{prefix}.{number}.{name}": error for name, error in made.errors.items()}
        following = self._passed(layer, number, states, errors)
        self._write(outline, made, number)
        states.remove()
        self._watch(sum(each.byte for each in sources.values()))
        return following

    def _going_into(self, number: int) -> Shape:
        """What states before a block are like; none are needed behind the last."""
        return self._shape if number < len(self._plan.blocks) else (0, *self._shape[1:])

    def _texts(self, states: States) -> Iterator[tuple[Values, bool]]:
        for number in range(self._shape[0]):
            yield states.text(number), is_held(number)

    def _passed(self, layer: object, number: int, states: States, errors: dict[str, float]) -> States:
        shape = self._going_into(number + 1)
        with Writing(self._journal.folder, number + 1, shape) as writing:
            for text in range(shape[0]):
                writing.add(self._decoder.run(layer, number, states.text(text)))
            return writing.finish(errors)

    def _write(self, outline: Outline, made: Press, number: int) -> None:
        shard = Shard(self._journal.folder, outline)
        try:
            shard.open()
            for entry in outline.entries:
                origin = self._plan.origins[entry.name]
                part = made.parts.get((_local(origin.tensor.name, number), origin.part))
                if origin.part == "shape":
                    part = np.array(origin.tensor.shape, "<i8")
                shard.write(_raw(origin.tensor) if part is None else part)
            self._journal.add(outline.file, shard.finish())
        finally:
            shard.abandon()

    def _tensors(self, outline: Outline) -> dict[str, Tensor]:
        origins = (self._plan.origins[entry.name].tensor for entry in outline.entries)
        return {each.name: each for each in origins}

    def _embedded(self) -> States:
        """The states that go into the first block: rows of the embedding, read one by one."""
        table = next((e for name, e in self._plan.source.tensors.items() if name.endswith(_EMBEDDING)), None)
        if table is None or table.shape[1:] != (self._shape[2],):
            raise BadInputError(f"No {_EMBEDDING!r} is as wide as the model.", "download the whole model.")
        if int(self._tokens.max()) >= table.shape[0]:
            raise BadInputError(
                f"The tokenizer knows more than the {table.shape[0]} words of the model.",
                "download tokenizer.json and weights of one version of the model.",
            )
        rows = _rows(table)
        with Writing(self._journal.folder, 0, self._shape) as writing:
            for sequence in self._tokens:
                writing.add(rows(sequence))
            return writing.finish({})


def _local(name: str, number: int) -> str:
    """The name of a tensor within its block."""
    return name.partition(f".{number}.")[2]


def _raw(tensor: Tensor) -> NDArray[np.uint8]:
    room = np.empty(tensor.byte, np.uint8)
    with explained(tensor.file, "a shard"):
        handle = os.open(tensor.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fill(handle, room, tensor, 0)
    finally:
        os.close(handle)
    return room


def _values(raw: NDArray[np.uint8], dtype: str) -> Values:
    import torch

    return torch.from_numpy(raw).view(torch_type(dtype)).float()


def _read(tensor: Tensor) -> Values:
    """A tensor of floats as float32."""
    return _values(_raw(tensor), tensor.dtype).view(tensor.shape)


def _rows(table: Tensor) -> Callable[[NDArray[np.int64]], Values]:
    """What reads rows of a matrix, given by their numbers, as float32."""
    width = table.byte // table.shape[0]

    def rows(numbers: NDArray[np.int64]) -> Values:
        room = np.empty((len(numbers), width), np.uint8)
        with explained(table.file, "a shard"), table.file.open("rb", buffering=0) as file:
            for place, number in enumerate(numbers):
                file.seek(table.start + int(number) * width)
                file.readinto(room[place].data)
        return _values(room.reshape(-1), table.dtype).view(len(numbers), -1)

    return rows
