"""The file, written piece by piece under a name of its own; it gets its real one when it was read back."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.backends.large.ggml import encoded, to_neighbours
from pennyweight.backends.large.rounding import FLOATS, as_float32, bits_in
from pennyweight.engine.shrinking.streaming import fill
from pennyweight.errors import BadInputError, CorruptError, StorageError
from pennyweight.store.checkpoints import Tensor
from pennyweight.store.checkpoints.writing import UNFINISHED
from pennyweight.store.disk import explained, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.engine.gguf.planning import Plan, Target

_WHAT = "the GGUF file"


@final
class Sources:
    """Stored tensors, read by rows as float32; each file is opened once."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack, self._handles = stack, dict[str, int]()

    def rows(self, target: Target, at: int, end: int) -> NDArray[np.float32]:
        """Rows from `at` to `end` of what the target is made of, as the checkpoint has them."""
        origin = target.origin
        if not isinstance(origin, Tensor):
            return origin.reshape(-1, target.columns)[at:end]
        width = target.columns * FLOATS[origin.dtype]
        raw, values = np.empty((end - at) * width, np.uint8), np.empty((end - at) * target.columns, np.float32)
        fill(self._handle(origin), raw, origin, at * width)
        as_float32(bits_in(raw, origin.dtype), origin.dtype, values)
        return values.reshape(-1, target.columns)

    def _handle(self, tensor: Tensor) -> int:
        key = str(tensor.file)
        if key not in self._handles:
            with explained(tensor.file, "a shard"):
                handle = os.open(tensor.file, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, handle)
            self._handles[key] = handle
        return self._handles[key]


@contextmanager
def unfinished(path: Path) -> Generator[int]:
    """A file to write that becomes `path` if all goes well, and is gone if not; one process at a time.

    Raises `StorageError` if another process writes it, or the disk does not take it.
    """
    aside = path.with_name(path.name + UNFINISHED)
    with explained(path, _WHAT):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        _lock(handle, aside, path)
        try:
            with explained(path, _WHAT):
                os.ftruncate(handle, 0)
            yield handle
            _finish(handle, aside, path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
    finally:
        os.close(handle)


def _finish(handle: int, aside: Path, path: Path) -> None:
    with explained(path, _WHAT):
        os.fsync(handle)
        aside.replace(path)
        flush(path.parent)


def _lock(handle: int, aside: Path, path: Path) -> None:
    import fcntl

    busy = StorageError(f"Another process is writing {path}.", "wait for it, or give another name.")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise busy from error
    except OSError:
        return  # some network disks know no locks
    # whoever held it may have given the file its name meanwhile: it is finished, and not to be written over
    if not aside.exists() or not os.path.samestat(os.fstat(handle), aside.stat()):
        raise busy


def stream(plan: Plan, handle: int, path: Path, watch: Callable[[int], None]) -> None:
    """Write all of it; `watch` hears how many bytes of the checkpoint were read since the last time.

    Raises `CorruptError` for weights that are no finite numbers, `BadInputError` for those too large for the type.
    """
    _write(handle, plan.head, path)
    with ExitStack() as stack:
        sources = Sources(stack)
        for target in plan.targets:
            for at, end in target.pieces():
                _write(handle, _encoded(target, sources.rows(target, at, end)), path)
                if isinstance(target.origin, Tensor):
                    watch((end - at) * target.columns * FLOATS[target.origin.dtype])
            _write(handle, bytes(target.padded - target.byte), path)


def _encoded(target: Target, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    place = target.place
    rows = to_neighbours(values, place.turned) if place.turned else values
    try:
        return encoded(rows, place.kind)
    except FloatingPointError as error:
        raise CorruptError(f"A weight of {place.name!r} is infinite or no number.", "download it again.") from error
    except OverflowError as error:
        raise BadInputError(
            f"In {place.name!r} {error}, more than {place.kind} can name.", "give --to bf16."
        ) from error


def _write(handle: int, body: bytes | NDArray[np.uint8], path: Path) -> None:
    rest = (memoryview(body) if isinstance(body, bytes) else body.data).cast("B")
    with explained(path, _WHAT):
        while rest:
            rest = rest[os.write(handle, rest) :]
