"""What of a checkpoint is finished already: a file beside the shards, replaced whole after each of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING, Self, final

from pennyweight.errors import BadInputError, StorageError
from pennyweight.store.checkpoints.folder import CONFIG, INDEX
from pennyweight.store.checkpoints.writing import UNFINISHED, digest
from pennyweight.store.disk import explained, put, read

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

JOURNAL, FACTS = "unfinished.json", "shrunk.json"
LOCK = ".unfinished.lock"
_MOST_BYTE = 10_000_000
_ASIDE = re.compile(r"\..+\.[0-9a-f]{16}")  # names that `store.disk.put` writes under


@final
class Journal:
    """The finished shards of the work called `key` in `folder`; while it is open no other process writes there.

    A `fresh` one begins again: what an earlier work wrote is removed.

    Raises `BadInputError` if the folder holds something else, or the work of another key, and `StorageError` if
    another process is at it.
    """

    def __init__(self, folder: Path, key: str, *, fresh: bool = False) -> None:
        self.folder, self.key, self.fresh = folder, key, fresh
        self._handle = -1
        self._done: dict[str, str] = {}

    def __enter__(self) -> Self:
        with explained(self.folder, "the checkpoint"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.folder / LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            self._begin()
        except BaseException:
            self._unlock()
            raise
        return self

    def _begin(self) -> None:
        self._lock()
        self._sweep()
        if self.fresh:
            self._clear()
        self._done = self._read()
        self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlock()

    @property
    def done(self) -> dict[str, str]:
        """The SHA-256 of every finished shard, by file."""
        return dict(sorted(self._done.items()))

    def whole(self, file: str) -> str | None:
        """The SHA-256 of a shard that is finished and still what it was; None of any other."""
        known, path = self._done.get(file), self.folder / file
        if known is None or path.is_symlink() or not path.is_file() or digest(path) != known:
            return None
        return known

    def add(self, file: str, sha256: str) -> None:
        """Remember that a shard is finished."""
        self._done[file] = sha256
        self._write()

    def close(self) -> None:
        """Forget the work: all of it is done."""
        with explained(self.folder, "the checkpoint"):
            (self.folder / JOURNAL).unlink(missing_ok=True)
            (self.folder / LOCK).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what a killed process was writing."""
        with explained(self.folder, "the checkpoint"):
            for path in self.folder.iterdir():
                if path.name.endswith(UNFINISHED) or _ASIDE.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what is finished; the config first, so that what is left is no checkpoint."""
        with explained(self.folder, "the checkpoint"):
            for name in (CONFIG, INDEX, FACTS, JOURNAL):
                (self.folder / name).unlink(missing_ok=True)
            for path in self.folder.glob("model-*.safetensors"):
                path.unlink()

    def _read(self) -> dict[str, str]:
        if not (self.folder / JOURNAL).exists():
            return {}
        with explained(self.folder / JOURNAL, "the journal"):
            body = read(self.folder, JOURNAL, _MOST_BYTE)
        try:
            said = json.loads(body)
            key, done = said["key"], {str(name): str(value) for name, value in said["shards"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"{self.folder / JOURNAL} is damaged.", "give --force to begin again.") from error
        if key != self.key:
            raise BadInputError(
                f"What was begun in {self.folder} was of other weights or other settings.",
                "give the same again, or --force to begin again.",
            )
        return done

    def _write(self) -> None:
        body = json.dumps({"key": self.key, "shards": self._done}, indent=1) + "\n"
        put(self.folder / JOURNAL, body.encode(), "the journal")

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"Another process is writing {self.folder}.", "wait for it, or give another folder."
            ) from error
        except OSError:
            pass  # some network disks know no locks

    def _unlock(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = -1
