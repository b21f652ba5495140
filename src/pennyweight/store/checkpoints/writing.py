"""Shards whose every byte has its place before the first is written: written aside, flushed, hashed, then renamed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Self, final

from pennyweight.store.checkpoints.tensors import LENGTH_BYTE, SIZES
from pennyweight.store.disk import explained, flush

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

UNFINISHED = ".unfinished"
_HASHED_BYTE = 1 << 22


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    byte: int


@final
@dataclass(frozen=True, slots=True)
class Outline:
    """A shard to be written: its file name and its tensors, in the order of their bytes."""

    file: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, file: str, entries: Sequence[Entry]) -> Self:
        """Put `entries` in an order in which each begins at a multiple of the size of its numbers, as readers want."""
        return cls(file, tuple(sorted(entries, key=lambda entry: -SIZES[entry.dtype])))

    @property
    def byte(self) -> int:
        """Bytes of its tensors."""
        return sum(entry.byte for entry in self.entries)

    def head(self) -> bytes:
        """What the file begins with; padded so that tensors begin at a multiple of 8."""
        said: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for entry in self.entries:
            said[entry.name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [at, at + entry.byte]}
            at += entry.byte
        text = json.dumps(said, separators=(",", ":")).encode()
        text += b" " * (-len(text) % LENGTH_BYTE)
        return len(text).to_bytes(LENGTH_BYTE, "little") + text


@final
class Shard:
    """A shard being written, from front to back, under a name of its own; `finish` gives it its real one."""

    def __init__(self, folder: Path, outline: Outline) -> None:
        self.path, self.outline = folder / outline.file, outline
        self._aside = folder / f"{outline.file}{UNFINISHED}"
        self._digest = sha256()
        self._handle = -1
        self.byte = 0

    def open(self) -> None:
        """Begin to write."""
        with explained(self.path, "a shard"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(self._aside, flags, 0o644)
        self.write(self.outline.head())

    def abandon(self) -> None:
        """Close it; what is not finished is gone."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self._aside.unlink(missing_ok=True)

    def write(self, body: bytes | NDArray[Any]) -> None:
        """Write what comes next."""
        rest = (memoryview(body) if isinstance(body, bytes) else body.data).cast("B")
        self._digest.update(rest)
        self.byte += len(rest)
        with explained(self.path, "a shard"):
            while rest:
                rest = rest[os.write(self._handle, rest) :]

    def finish(self) -> str:
        """Flush it to the disk, give it its name and return the SHA-256 of the file."""
        with explained(self.path, "a shard"):
            os.fsync(self._handle)
            self._aside.replace(self.path)
            flush(self.path.parent)
        return self._digest.hexdigest()


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    body, found = bytearray(_HASHED_BYTE), sha256()
    with path.open("rb", buffering=0) as file:
        while taken := file.readinto(body):
            found.update(memoryview(body)[:taken])
    return found.hexdigest()
