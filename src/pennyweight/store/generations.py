"""One thing that changes, kept as its last good states: each whole or not there, checked by hash when it is read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, final

from pennyweight.errors import CorruptError
from pennyweight.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SUMS = "SHA256SUMS"
_DRAFT = ".draft-"
_NUMBER = re.compile(r"\d{8}")
_SUMS_BYTE = 2**20


@final
class Generations:
    """The last states of one thing in the folder `root`, numbered; older ones than the last `keep` are removed.

    A state appears in one step, after all of it is on the disk: a process killed at any moment, or a disk that is
    full, leaves the states before as they were.
    """

    def __init__(self, root: Path | str, keep: int = 2) -> None:
        self.root = Path(root)
        self._keep = keep
        disk.sweep(self.root, _DRAFT)

    def put(self, files: Mapping[str, bytes]) -> int:
        """Keep a state and return its number; raises `StorageError` if there is no room for it."""
        number = max(self.numbers(), default=0) + 1
        with disk.explained(self.root, "the state of a run"):
            self.root.mkdir(parents=True, exist_ok=True)
            with disk.draft(self.root, _DRAFT) as draft:
                disk.write(draft, {**files, _SUMS: _sums(files)})
                disk.land(draft, self.root / _name(number))
        for old in self.numbers()[: -self._keep]:
            shutil.rmtree(self.root / _name(old), ignore_errors=True)
        return number

    def sound(self) -> Iterator[dict[str, bytes]]:
        """The states that are not damaged, newest first."""
        for number in reversed(self.numbers()):
            with contextlib.suppress(CorruptError):
                yield self._read(self.root / _name(number))

    def latest(self) -> dict[str, bytes] | None:
        """The newest state that is sound, None if none was ever kept; raises `CorruptError` if all are damaged."""
        found = next(self.sound(), None)
        if found is None and self.numbers():
            raise CorruptError(
                f"Every state kept in {self.root} is damaged.", "restore the folder from a backup, or begin anew."
            )
        return found

    def numbers(self) -> list[int]:
        """The numbers of the states kept, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(int(name) for name in os.listdir(self.root) if _NUMBER.fullmatch(name))  # ruff: ignore[os-listdir] - names suffice

    def _read(self, folder: Path) -> dict[str, bytes]:
        try:
            listed = disk.read(folder, _SUMS, _SUMS_BYTE)
            names = [line.split("  ", 1)[1] for line in listed.decode().splitlines()]
            sizes = {name: (folder / name).lstat().st_size for name in names if "/" not in name}
            files = {name: disk.read(folder, name, size) for name, size in sizes.items()}
        except (OSError, ValueError, IndexError) as error:
            raise CorruptError(f"The state in {folder} is damaged: {error}.", "use an older one.") from error
        if _sums(files) != listed:
            raise CorruptError(f"The state in {folder} has changed since it was written.", "use an older one.")
        return files


def _name(number: int) -> str:
    return f"{number:08d}"


def _sums(files: Mapping[str, bytes]) -> bytes:
    """The checksums in the form that `sha256sum --check` reads."""
    return "".join(f"{sha256(body).hexdigest()}  {name}\n" for name, body in sorted(files.items())).encode()
