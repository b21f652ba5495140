"""Block after block: read, rounded by what texts bring to it, written, and passed through with its new weights.

A block's shard is entered in the journal after the states that go into the next block are on the disk, so whatever
moment a run is cut off at, the next one finds where to go on; without states all blocks are done again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.decoders import Decoder
from pennyweight.engine.shrinking.calibrating import is_held
from pennyweight.engine.shrinking.pressing import Press, Way
from pennyweight.engine.shrinking.reading import embedding, local, raw, read_block, rows_of
from pennyweight.engine.shrinking.states import Shape, States, Writing, forget
from pennyweight.store.checkpoints import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor as Values

    from pennyweight.engine.shrinking.planning import Plan
    from pennyweight.store.checkpoints import Outline, Tensor
    from pennyweight.store.checkpoints.journal import Journal


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
        self._way = Way(plan.wish.method, (len(self._tokens) - held) * self._tokens.shape[1])

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
        weights = read_block(sources, number)
        layer = self._decoder.block(number, weights)
        dtypes = {local(name, number): each.dtype for name, each in sources.items()}
        rounded = {
            local(name, number).removesuffix(".weight"): self._plan.rounding(name)
            for name in sources
            if name in self._plan.choice.rounded
        }
        made = Press(self._way, layer, weights, dtypes, rounded)
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
                part = made.parts.get((local(origin.tensor.name, number), origin.part))
                if origin.part == "shape":
                    part = np.array(origin.tensor.shape, "<i8")
                shard.write(raw(origin.tensor) if part is None else part)
            self._journal.add(outline.file, shard.finish())
        finally:
            shard.abandon()

    def _tensors(self, outline: Outline) -> dict[str, Tensor]:
        origins = (self._plan.origins[entry.name].tensor for entry in outline.entries)
        return {each.name: each for each in origins}

    def _embedded(self) -> States:
        """The states that go into the first block: rows of the embedding, read one by one."""
        rows = rows_of(embedding(self._plan.source, self._shape[2], int(self._tokens.max())))
        with Writing(self._journal.folder, 0, self._shape) as writing:
            for sequence in self._tokens:
                writing.add(rows(sequence))
            return writing.finish({})
