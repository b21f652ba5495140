"""What goes into a block, text by text, in a file: memory holds one text, and what was cut off goes on from there.

The file holds numbers (texts, tokens, hidden; float32), then what is known of blocks before as JSON, the length of that
in 8 bytes, and the SHA-256 of all before.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.store.checkpoints.writing import UNFINISHED
from pennyweight.store.disk import explained, flush

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_DIGEST, _LENGTH = 32, 8
_READ_BYTE = 1 << 22
_NAME = ".states-"
Shape = tuple[int, int, int]  # texts, tokens, hidden


@final
class States:
    """The states that go into block `number`, already written; `errors` are those of layers before it."""

    def __init__(self, folder: Path, number: int, shape: Shape, errors: dict[str, float]) -> None:
        self.path, self.shape, self.errors = _path(folder, number), shape, errors
        self._byte = 4 * shape[1] * shape[2]

    @classmethod
    def found(cls, folder: Path, number: int, shape: Shape) -> Self | None:
        """Those that an earlier run left, None if there are none or they are not whole."""
        path = _path(folder, number)
        if path.is_symlink() or not path.is_file():
            return None
        size, told = path.stat().st_size, sha256()
        body = 4 * shape[0] * shape[1] * shape[2]
        if size < body + _LENGTH + _DIGEST:
            return None
        with path.open("rb") as file:
            left = size - _DIGEST
            while left and (part := file.read(min(left, _READ_BYTE))):
                told.update(part)
                left -= len(part)
            if file.read() != told.digest():
                return None
            file.seek(body)
            tail = file.read(size - body - _DIGEST)
        return cls(folder, number, shape, json.loads(tail[:-_LENGTH])) if _is_tail(tail) else None

    def text(self, number: int) -> Tensor:
        """The states (tokens, hidden) of one text."""
        import torch

        room = torch.empty(self.shape[1], self.shape[2])
        with explained(self.path, "states of texts"), self.path.open("rb", buffering=0) as file:
            file.seek(number * self._byte)
            view = memoryview(room.numpy()).cast("B")
            while view and (taken := file.readinto(view)):
                view = view[taken:]
        return room

    def remove(self) -> None:
        """Forget them."""
        self.path.unlink(missing_ok=True)


def _is_tail(tail: bytes) -> bool:
    return int.from_bytes(tail[-_LENGTH:], "little") == len(tail) - _LENGTH


def _path(folder: Path, number: int) -> Path:
    return folder / f"{_NAME}{number:05d}"


def forget(folder: Path) -> None:
    """Remove all states from a folder."""
    for path in folder.glob(f"{_NAME}*"):
        path.unlink(missing_ok=True)


@final
class Writing:
    """States being written, text after text; they count once `finish` has given them their name."""

    def __init__(self, folder: Path, number: int, shape: Shape) -> None:
        self._folder, self._number, self._shape = folder, number, shape
        self._path = _path(folder, number)
        self._aside = folder / f"{self._path.name}{UNFINISHED}"
        self._digest = sha256()
        with explained(self._path, "states of texts"):
            self._file = self._aside.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)

    def add(self, states: Tensor) -> None:
        """Write the states of the next text; raises `BadInputError` if they are no finite numbers."""
        if not bool(states.isfinite().all()):
            raise BadInputError(
                f"Before block {self._number} the text makes numbers that are infinite or none.",
                "calibrate with another text, or download the model again.",
            )
        self._write(np.ascontiguousarray(states.numpy(), "<f4").data.cast("B"))

    def finish(self, errors: dict[str, float]) -> States:
        """All texts are there: flush them and give them their name."""
        said = json.dumps(errors).encode()
        self._write(memoryview(said + len(said).to_bytes(_LENGTH, "little")))
        self._write(memoryview(self._digest.digest()))
        with explained(self._path, "states of texts"):
            os.fsync(self._file.fileno())
            self._aside.replace(self._path)
            flush(self._folder)
        return States(self._folder, self._number, self._shape, errors)

    def _write(self, body: memoryview[Any]) -> None:
        self._digest.update(body)
        with explained(self._path, "states of texts"):
            while body:
                body = body[self._file.write(body) :]
