"""Mini-batches from packed data: shuffled by a seed, decoded whole batches at a time, resumable to the row."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.data.columnar.ahead import ahead
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from pennyweight.data.columnar.manifest import Part
    from pennyweight.data.columnar.reading import Packed

    Codes = dict[str, NDArray[Any]]
    Block = tuple[Codes, NDArray[np.intp]]  # columns, and where in them the rows are
    Group = tuple[int, int]  # number of the shard, number of the group in it

DAMAGED = ("refuse", "skip")


@final
@dataclass(frozen=True, slots=True)
class Flow:
    """How to stream: rows per `batch`, `seed`, and rows in the shuffle `buffer` (0: in order, never shuffled).

    `ahead` buffers are read in a thread beforehand. A damaged shard is an error ("refuse") or left out with a warning
    ("skip"). With `torch`, batches are tensors.
    """

    batch: int = 128
    seed: int = 0
    buffer: int = 16_384
    ahead: int = 1
    damaged: str = "refuse"
    torch: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or self.buffer < 0 or self.ahead < 0:
            raise BadInputError("A batch or buffer of less than nothing streams nothing.", "give positive numbers.")
        if self.damaged not in DAMAGED:
            raise UnknownNameError.of("way with damaged shards", self.damaged, DAMAGED)


@final
class Stream:
    """One part of packed data in mini-batches: each pass over it is one loop, and the next pass has another order.

    Shards come in an order drawn by seed and pass, and their groups too; as many groups as fill the buffer are mixed
    row by row. `state` after any batch is a small JSON value from which `restore` goes on with the very next row.
    """

    def __init__(self, packed: Packed, part: str = "train", flow: Flow | None = None) -> None:
        self._packed, self._name, self._flow = packed, part, flow or Flow()
        self._part: Part = packed.part(part)
        self._pass = self._block = self._row = 0
        self.skipped: list[str] = []

    def __iter__(self) -> Generator[dict[str, Any]]:
        """The batches left of this pass: columns by name, each (batch, ...); the last may be short."""
        blocks = _blocks(self._part, self._flow, self._pass)
        coming = ahead(self._mixed(blocks), self._flow.ahead)
        try:
            for codes in self._cut(coming):
                yield self._batch(codes)
        finally:
            coming.close()
        self._pass, self._block, self._row = self._pass + 1, 0, 0

    def __len__(self) -> int:
        """The batches of a whole pass, if no shard is damaged."""
        return math.ceil(self._part.rows / self._flow.batch)

    def state(self) -> dict[str, Any]:
        """Where the stream is, as JSON: valid for the same data, part and settings."""
        return {**self._made_of(), "pass": self._pass, "block": self._block, "row": self._row}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on after the batch at which `state` was taken; raises `BadInputError` if it is of another stream."""
        for key, mine in self._made_of().items():
            if state.get(key) != mine:
                raise BadInputError(
                    f"The state is of another stream: its {key} is {state.get(key)!r}, here it is {mine!r}.",
                    "stream the same part of the same data with the same settings.",
                )
        self._pass, self._block, self._row = (int(state[key]) for key in ("pass", "block", "row"))

    def _made_of(self) -> dict[str, Any]:
        facts = asdict(self._flow)
        settings = {key: facts[key] for key in ("batch", "seed", "buffer", "damaged")}
        return {"data": self._packed.manifest.fingerprint, "part": self._name, **settings}

    def _mixed(self, blocks: list[list[Group]]) -> Iterator[Block]:
        """Block after block from where the stream is, its rows in the order in which they are given out."""
        for number in range(self._block, len(blocks)):
            codes, rows = self._read(blocks[number])
            if self._flow.buffer:
                rows = np.random.default_rng([self._flow.seed, self._pass, number + 1]).permutation(rows)
            yield codes, rows

    def _read(self, block: list[Group]) -> Block:
        """The rows of a block; shards that follow each other in it are read at once."""
        found: list[Block] = []
        for shard, groups in _by_shard(block):
            try:
                found.append(self._packed.codes(self._part.shards[shard], self._part.group, groups))
            except CorruptError as error:
                if self._flow.damaged == "refuse":
                    raise
                self._skip(self._part.shards[shard].name, error)
        if len(found) == 1:
            return found[0]
        joined = _joined([{name: each[rows] for name, each in codes.items()} for codes, rows in found])
        return joined, np.arange(sum(len(rows) for _, rows in found))

    def _skip(self, name: str, error: CorruptError) -> None:
        if name not in self.skipped:
            self.skipped.append(name)
            warnings.warn(f"{error.problem} Its rows are left out.", stacklevel=2)

    def _cut(self, blocks: Iterator[Block]) -> Iterator[Codes]:
        """Batches of equal size across blocks; where the stream is moves on as each is given out."""
        rest: list[Codes] = []
        wanted = self._flow.batch
        for codes, rows in blocks:
            while self._row < len(rows):
                stop = min(len(rows), self._row + wanted)
                rest.append(self._taken(codes, rows[self._row : stop]))
                wanted -= stop - self._row
                self._row = stop
                if not wanted:
                    yield _joined(rest)
                    rest, wanted = [], self._flow.batch
            self._block, self._row = self._block + 1, 0
        if rest:
            yield _joined(rest)

    def _taken(self, codes: Codes, rows: NDArray[np.intp]) -> Codes:
        """Gathered if they are shuffled; a view if they are not, for then they follow each other."""
        if self._flow.buffer:
            return {name: each[rows] for name, each in codes.items()}
        return {name: each[rows[0] : rows[-1] + 1] for name, each in codes.items()}

    def _batch(self, codes: Codes) -> dict[str, Any]:
        columns = self._packed.columns
        values = {column.name: column.decode(codes[column.name]) for column in columns}
        return tensors(values) if self._flow.torch else values


def tensors(values: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays as torch tensors over the same memory, but for those that may not be written to; text stays as it is."""
    import torch

    made: dict[str, Any] = {}
    for name, each in values.items():
        text = each.dtype.kind in "USO"
        made[name] = each if text else torch.from_numpy(each if each.flags.writeable else each.copy())
    return made


def _joined(parts: list[Codes]) -> Codes:
    if len(parts) < 2:
        return parts[0] if parts else {}
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


def _blocks(part: Part, flow: Flow, number: int) -> list[list[Group]]:
    """What is read together in pass `number`: groups until they hold the rows of the buffer (of a group, at least)."""
    blocks: list[list[Group]] = [[]]
    rows = 0
    for shard, group in _order(part, flow, number):
        if rows >= max(1, flow.buffer):
            blocks.append([])
            rows = 0
        blocks[-1].append((shard, group))
        rows += min(part.group, part.shards[shard].rows - group * part.group)
    return blocks if blocks[0] else []


def _order(part: Part, flow: Flow, number: int) -> Iterator[Group]:
    rng = np.random.default_rng([flow.seed, number, 0])
    shards = rng.permutation(len(part.shards)) if flow.buffer else np.arange(len(part.shards))
    for shard in shards.tolist():
        count = math.ceil(part.shards[shard].rows / part.group)
        groups = rng.permutation(count) if flow.buffer else np.arange(count)
        yield from ((shard, group) for group in groups.tolist())


def _by_shard(block: list[Group]) -> Iterator[tuple[int, list[int]]]:
    """Neighbours of one shard together."""
    at = 0
    while at < len(block):
        stop = at
        while stop < len(block) and block[stop][0] == block[at][0]:
            stop += 1
        yield block[at][0], [group for _, group in block[at:stop]]
        at = stop
