"""Tensors of a checkpoint, whole or some of their rows, from files that are opened once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, final

import numpy as np

from pennyweight.backends.large.grids import torch_type
from pennyweight.backends.large.rounding import FLOATS
from pennyweight.engine.shrinking.streaming import fill
from pennyweight.errors import CorruptError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor as Values

    from pennyweight.store.checkpoints import Tensor

PIECE_BYTE = 1 << 23


@final
class Reader:
    """Reads tensors; closes its files at the end of a with statement."""

    def __init__(self) -> None:
        self._stack, self._handles = ExitStack(), dict[str, int]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def pieces(self, tensor: Tensor) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a tensor, some at a time."""
        for at in range(0, tensor.byte, PIECE_BYTE):
            room = np.empty(min(PIECE_BYTE, tensor.byte - at), np.uint8)
            fill(self._handle(tensor.file), room, tensor, at)
            yield room

    def rows(self, tensor: Tensor, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The bytes of some rows, in that order, some at a time; neighbours are read together."""
        width, most = tensor.byte // tensor.shape[0], max(1, PIECE_BYTE * tensor.shape[0] // max(tensor.byte, 1))
        for at in range(0, len(numbers), most):
            some = numbers[at : at + most]
            room = np.empty((len(some), width), np.uint8)
            breaks = np.flatnonzero(np.diff(some) != 1) + 1
            for begin, end in zip([0, *breaks], [*breaks, len(some)], strict=True):
                fill(self._handle(tensor.file), room[begin:end].reshape(-1), tensor, int(some[begin]) * width)
            yield room.reshape(-1)

    def values(self, tensor: Tensor) -> Values:
        """A tensor of floats as float32; raises `CorruptError` if some are no finite numbers."""
        room = np.empty(tensor.byte, np.uint8)
        fill(self._handle(tensor.file), room, tensor, 0)
        made = _floats(room, tensor).view(tensor.shape)
        if not bool(made.isfinite().all()):
            raise CorruptError(
                f"A weight of {tensor.name!r} in {tensor.file} is infinite or no number.", "download it again."
            )
        return made

    def row_values(self, tensor: Tensor, numbers: NDArray[np.int64]) -> Values:
        """Some rows of a matrix as float32."""
        raw = np.concatenate(list(self.rows(tensor, numbers)))
        return _floats(raw, tensor).view(len(numbers), -1)

    def _handle(self, path: Path) -> int:
        if str(path) not in self._handles:
            with explained(path, "a shard"):
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._stack.callback(os.close, handle)
            self._handles[str(path)] = handle
        return self._handles[str(path)]


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds floats that are computed with here."""
    return tensor.dtype in FLOATS


def _floats(raw: NDArray[np.uint8], tensor: Tensor) -> Values:
    import torch

    return torch.from_numpy(raw).view(torch_type(tensor.dtype)).float()
