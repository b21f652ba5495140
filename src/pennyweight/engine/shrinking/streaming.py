"""Reading, rounding and writing at the same time, in a fixed number of buffers that are made once.

Weights are read into buffers, not mapped: pages of a mapped file count as memory held, and the bound is to be kept.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.kinds import rounder_of
from pennyweight.backends.large.rounding import FLOATS
from pennyweight.engine.shrinking.memory import PIECE_BYTE, SLOTS, WORKERS
from pennyweight.errors import CorruptError
from pennyweight.store.checkpoints import Shard
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.shrinking.planning import Origin, Plan
    from pennyweight.store.checkpoints import Outline, Tensor
    from pennyweight.store.checkpoints.journal import Journal


@final
@dataclass(frozen=True, slots=True)
class _Unit:
    """The next bytes of a shard: those `at`, `byte` of them, of the tensor they are made of."""

    shard: Outline
    origin: Origin
    at: int
    byte: int


@final
class _Slot:
    """Room for one piece on its way."""

    def __init__(self, group: int) -> None:
        self.raw = np.empty(PIECE_BYTE, np.uint8)
        self.packed = np.empty(PIECE_BYTE // 2, np.uint8)
        self.scales = np.empty(PIECE_BYTE // group, np.uint8)


@final
class _Files:
    """Source files, each opened once."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._handles = stack, dict[str, int]()

    def handle(self, path: Path) -> int:
        """The open file at `path`."""
        if str(path) not in self._handles:
            with explained(path, "a shard"):
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, handle)
            self._handles[str(path)] = handle
        return self._handles[str(path)]


def stream(plan: Plan, journal: Journal, todo: Sequence[Outline], watch: Callable[[int], None]) -> None:
    """Write the shards `todo`; `watch` hears how many bytes were read since the last time.

    Raises `CorruptError` for weights that are no finite numbers, `StorageError` if the disk is full.
    """
    with ExitStack() as stack:
        shards = stack.enter_context(_Shards(journal))
        files = _Files(stack.enter_context(ExitStack()))  # closed when nobody reads any more
        line = stack.enter_context(_Line(plan, files))
        scales: dict[str, list[NDArray[np.uint8]]] = {}
        for unit, done in line.through(_units(plan, todo)):
            shard = shards.at(unit.shard)
            name = unit.origin.tensor.name
            if done is not None:
                body, made = done
                shard.write(body)
                watch(unit.byte)
                if made is not None:
                    scales.setdefault(name, []).append(made)
            elif unit.origin.part == "shape":
                shard.write(np.array(unit.origin.tensor.shape, "<i8"))
            else:
                for each in scales.pop(name, ()):
                    shard.write(each)
        shards.close()


def _units(plan: Plan, todo: Sequence[Outline]) -> Iterator[_Unit]:
    group = plan.wish.rounding.group
    step = PIECE_BYTE // (4 * group) * (4 * group)
    for shard in todo:
        for entry in shard.entries:
            origin = plan.origins[entry.name]
            if origin.part in {"shape", "scale"} or not origin.tensor.byte:
                yield _Unit(shard, origin, 0, 0)
                continue
            for at in range(0, origin.tensor.byte, step):
                yield _Unit(shard, origin, at, min(step, origin.tensor.byte - at))


_Done = tuple["NDArray[np.uint8]", "NDArray[np.uint8] | None"]


@final
class _Line:
    """Units on their way through the workers, in order; no more at a time than there are slots."""

    def __init__(self, plan: Plan, files: _Files) -> None:
        self._plan, self._files = plan, files
        self._slots = [_Slot(plan.wish.rounding.group) for _ in range(SLOTS)]
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(WORKERS, "round")

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def through(self, units: Iterator[_Unit]) -> Iterator[tuple[_Unit, _Done | None]]:
        """Each unit with what became of it (None: it needs no work); valid until the next is asked for."""
        way: deque[tuple[_Unit, _Slot | None, Future[_Done] | None]] = deque()
        free = deque(self._slots)
        for unit in units:
            if unit.byte:
                while not free:
                    yield from self._first(way, free)
                way.append(self._sent(unit, free.popleft()))
            else:
                way.append((unit, None, None))
        while way:
            yield from self._first(way, free)

    def _first(
        self, way: deque[tuple[_Unit, _Slot | None, Future[_Done] | None]], free: deque[_Slot]
    ) -> Iterator[tuple[_Unit, _Done | None]]:
        unit, slot, future = way.popleft()
        yield unit, future.result() if future else None
        if slot is not None:
            free.append(slot)

    def _sent(self, unit: _Unit, slot: _Slot) -> tuple[_Unit, _Slot, Future[_Done]]:
        tensor = unit.origin.tensor
        handle = self._files.handle(tensor.file)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, tensor.start + unit.at, unit.byte, os.POSIX_FADV_WILLNEED)
        return unit, slot, self._pool.submit(self._work, unit, slot, handle)

    def _work(self, unit: _Unit, slot: _Slot, handle: int) -> _Done:
        tensor, raw, rounding = unit.origin.tensor, slot.raw[: unit.byte], self._plan.wish.rounding
        fill(handle, raw, tensor, unit.at)
        if unit.origin.part == "kept":
            return raw, None
        if not hasattr(self._own, "rounder"):
            self._own.rounder = rounder_of(rounding, self._plan.wish.method)
        count = unit.byte // FLOATS[tensor.dtype]
        packed = slot.packed[: count * rounding.bits // 8]
        scales = slot.scales[: count // rounding.group * rounding.scale_byte(tensor.dtype)]
        try:
            self._own.rounder.round(raw, tensor.dtype, packed, scales)
        except FloatingPointError as error:
            raise CorruptError(
                f"A weight of {tensor.name!r} in {tensor.file} is infinite or no number.",
                f"download it again, or keep that tensor with --keep {tensor.name}.",
            ) from error
        return packed, scales.copy()


def fill(handle: int, room: NDArray[np.uint8], tensor: Tensor, at: int) -> None:
    """Read the bytes of a tensor from `at` on until `room` is full."""
    view, done = room.data, 0
    with explained(tensor.file, "a shard"):
        while done < len(view):
            taken = os.preadv(handle, [view[done:]], tensor.start + at + done)
            if not taken:
                raise CorruptError(f"{tensor.file} became shorter while it was read.", "download it again.")
            done += taken


@final
class _Shards:
    """One shard after another; while the next is written, the last is flushed, named and entered in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._pool = ThreadPoolExecutor(1, "flush")
        self._shard: Shard | None = None
        self._last: Future[None] | None = None

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shard is not None:
            self._shard.abandon()
        self._pool.shutdown(wait=True)

    def at(self, outline: Outline) -> Shard:
        """The shard of that outline, begun if it is another than before."""
        if self._shard is None or self._shard.outline is not outline:
            self._turn()
            self._shard = Shard(self._journal.folder, outline)
            self._shard.open()
        return self._shard

    def close(self) -> None:
        """Finish all of them."""
        self._turn()
        if self._last is not None:
            self._last.result()

    def _turn(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None
        if self._shard is not None:
            self._last, self._shard = self._pool.submit(self._finish, self._shard), None

    def _finish(self, shard: Shard) -> None:
        try:
            self._journal.add(shard.outline.file, shard.finish())
        finally:
            shard.abandon()
