"""What is written without being computed: whole tensors, and of tables the rows of tokens that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pennyweight.engine.cutting.tables import is_table
from pennyweight.store.checkpoints import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.engine.cutting.planning import Plan
    from pennyweight.engine.cutting.reading import Reader
    from pennyweight.store.checkpoints import Outline, Tensor
    from pennyweight.store.checkpoints.journal import Journal


@final
class Copying:
    """Writes shards of a plan from tensors as they are; `watch` hears how many bytes were read since the last time."""

    def __init__(self, plan: Plan, reader: Reader, journal: Journal, watch: Callable[[int], None]) -> None:
        self._plan, self._reader, self._journal, self._watch = plan, reader, journal, watch

    def outside(self) -> int:
        """Write what is outside of blocks; how many of its shards were finished."""
        return sum(self._write(shard, self._plan.source.tensors) for shard in self._plan.outside)

    def blocks(self, numbers: Sequence[int]) -> int:
        """Write these blocks under the numbers that they get; how many were finished."""
        parts, done = self._plan.parts, 0
        for place, (number, shard) in enumerate(zip(numbers, self._plan.blocks, strict=True)):
            if parts is not None:
                own = {f"{parts.prefix}.{place}.{local}": each for local, each in parts.blocks[number].items()}
                done += self._write(shard, own)
        return done

    def _write(self, outline: Outline, sources: Mapping[str, Tensor]) -> bool:
        """Whether it was finished already."""
        whole = self._journal.whole(outline.file) is not None
        if not whole:
            shard = Shard(self._journal.folder, outline)
            try:
                shard.open()
                for entry in outline.entries:
                    for piece in self._pieces(sources[entry.name]):
                        shard.write(piece)
                self._journal.add(outline.file, shard.finish())
            finally:
                shard.abandon()
        self._watch(sum(sources[entry.name].byte for entry in outline.entries))
        return whole

    def _pieces(self, tensor: Tensor) -> Iterator[NDArray[np.uint8]]:
        words = self._plan.words
        if words is not None and is_table(tensor.name):
            return self._reader.rows(tensor, words.kept)
        return self._reader.pieces(tensor)
