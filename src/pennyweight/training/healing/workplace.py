"""Where a healing keeps its state until it is done: a folder beside the one to be written, held by one process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.errors import BadInputError, CorruptError, StorageError
from pennyweight.store import disk
from pennyweight.store.generations import Generations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_ASKED, _LOCK, _STATES, _MADE = "asked.json", "lock", "states", "made"
_BEST = "best-"
_ASKED_BYTE = 1 << 20


def aside_of(to: Path) -> Path:
    """The folder in which the work towards `to` is kept."""
    whole = to.absolute()
    return whole.with_name(f".{whole.name}.healing")


@final
class Workplace:
    """The work towards the folder `to`; while it is open no other process does it.

    Raises `BadInputError` if `to` holds something, or if work was begun and neither `resume` nor `force` (which begins
    again) is given, or with another `key`; `StorageError` if another process is at it.
    """

    def __init__(self, to: Path, key: str, *, resume: bool = False, force: bool = False) -> None:
        self.to, self.key, self.folder = to, key, aside_of(to)
        self._resume, self._force = resume, force
        self._handle = -1

    def __enter__(self) -> Self:
        _check_free(self.to)
        with disk.explained(self.folder, "the work"):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            self._lock()
            self._begin()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.folder / _ASKED).exists():
            self.forget()
        self._unlock()

    @property
    def states(self) -> Generations:
        """The last good states."""
        return Generations(self.folder / _STATES)

    @property
    def made(self) -> Path:
        """An empty folder to write the checkpoint in, which then becomes `to`."""
        path = self.folder / _MADE
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def best(self, update: int) -> Path:
        """The file of the weights that were best when `update` changes were made."""
        return self.folder / f"{_BEST}{update}.safetensors"

    def keep_only(self, updates: Iterable[int]) -> None:
        """Remove all weights that were best once but those of `updates`."""
        kept = {self.best(update) for update in updates}
        for path in self.folder.glob(f"{_BEST}*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def note(self, facts: dict[str, Any]) -> None:
        """Keep what was decided at the beginning, beside the key."""
        disk.put(self.folder / _ASKED, json.dumps({"key": self.key, **facts}).encode(), "the work")

    @property
    def noted(self) -> dict[str, Any] | None:
        """What was decided at the beginning, None if nothing was begun."""
        if not (self.folder / _ASKED).exists():
            return None
        with disk.explained(self.folder, "the work"):
            body = disk.read(self.folder, _ASKED, _ASKED_BYTE)
        try:
            said = json.loads(body)
            return {"key": str(said["key"]), "tokens": int(said["tokens"])}
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"{self.folder / _ASKED} is damaged.", "give --force to begin again.") from error

    def land(self, made: Path) -> None:
        """Let `made` become the folder `to`, all at once, and forget the work."""
        with disk.explained(self.to, "the checkpoint"):
            for path in made.iterdir():
                _flush(path)
            disk.flush(made)
            if self.to.exists():
                self.to.rmdir()
            disk.land(made, self.to)
        self.forget()

    def forget(self) -> None:
        """Remove the work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        if self._force:
            self._clear()
        noted = self.noted
        if noted is None:
            return
        if noted["key"] != self.key:
            raise BadInputError(
                f"What was begun towards {self.to} was of other checkpoints, another text or other settings.",
                "give the same again, or --force to begin again.",
            )
        if not self._resume:
            raise BadInputError(
                f"Work towards {self.to} was begun.", "give --resume to go on, or --force to begin again."
            )

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"Another process is working towards {self.to}.", "wait for it, or give another folder."
            ) from error
        except OSError:
            pass  # some network disks know no locks

    def _unlock(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.close(self._handle)
            self._handle = -1


def _check_free(to: Path) -> None:
    if to.exists() and not to.is_dir():
        raise BadInputError(f"{to} is no folder.", "give the name of a new folder.")
    if to.exists() and any(to.iterdir()):
        raise BadInputError(f"{to} holds something already.", "give the name of a new folder.")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, 0o644)  # transformers writes for the owner alone
        os.fsync(handle)
    finally:
        os.close(handle)
