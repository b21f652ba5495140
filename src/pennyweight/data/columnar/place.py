"""Where packed data lies: a folder, or anything fsspec has a name for; files appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.errors import BadInputError, CorruptError, MissingExtraError, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A folder: `url` as it was given, and the file system and the path that fsspec makes of it."""

    url: str
    files: Any
    root: str

    @classmethod
    def at(cls, url: str | Path) -> Self:
        """The place at a path or URL; raises `BadInputError` if fsspec does not know its protocol."""
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError.of("fsspec", "data") from error
        try:
            files, root = url_to_fs(str(url))
        except (ValueError, ImportError, OSError) as error:
            raise BadInputError(f"{url} cannot be opened: {error}.", "give a folder or a URL fsspec knows.") from error
        return cls(str(url), files, root)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine's disk; None if it is elsewhere."""
        kinds = self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,)
        return Path(self.root) if "file" in kinds else None

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        with self._said(name):
            return bool(self.files.exists(self._path(name)))

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises `CorruptError` if it is not there."""
        with self._said(name):
            body = self.files.cat_file(self._path(name))
        return bytes(body)

    def write(self, name: str, body: bytes) -> None:
        """Write a file, whole or not at all; raises `StorageError` with the reason if that cannot be done."""
        with self._said(name, writing=True):
            if self.folder is None:
                self.files.makedirs(self.root, exist_ok=True)
                self.files.pipe_file(self._path(name), body)
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                _put(self.folder / name, body)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._said(name), contextlib.suppress(FileNotFoundError):
            self.files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _said(self, name: str, *, writing: bool = False) -> Generator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            if error.errno in _FULL:
                raise StorageError(
                    f"There is no room to write {name} in {self.url}; nothing half-written is left there.",
                    "free space and run the same again: finished shards are kept and not written twice.",
                ) from error
            if not writing and (isinstance(error, FileNotFoundError) or error.errno in _ABSENT):
                raise CorruptError(f"{self.url} lacks the file {name}.", "restore it, or pack again.") from error
            deed = "written" if writing else "read"
            raise StorageError(f"{name} cannot be {deed} in {self.url}: {reason}.", "check the place.") from error


def _put(path: Path, body: bytes) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with aside.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
