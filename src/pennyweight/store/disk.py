"""Files that are there whole or not at all: folders written aside, flushed, then renamed; reads that follow no link."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, CorruptError, PennyweightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_PLAIN = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
_MISPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EEXIST})
_AT_FDCWD, _EXCHANGE = -100, 2  # of renameat2, Linux
_YOUNG_S = 60.0  # a draft may have been made but not yet been locked


@contextlib.contextmanager
def explained(path: Path, what: str) -> Generator[None]:
    """Turn an `OSError` on `path`, which holds `what`, into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        raise _sentence(error, path, what) from error


def _sentence(error: OSError, path: Path, what: str) -> PennyweightError:
    if error.errno in _FULL:
        return StorageError(
            f"There is no room to write {what} at {path}; nothing half-written is left there.",
            "free space on that disk (or raise the quota or file-size limit), or set PENNYWEIGHT_HOME to a larger one.",
        )
    it = f"{what[0].upper()}{what[1:]} cannot be read or written at {path}"
    reason = error.strerror or type(error).__name__
    if error.errno in _FORBIDDEN:
        return StorageError(f"{it}: {reason}.", "change its permissions, or use another folder.")
    if error.errno in _NOT_PLAIN:
        return CorruptError(f"{it}: it is a link or a device.", "put the real files there, links are refused.")
    if error.errno in _MISPLACED:
        return BadInputError(f"{it}: {reason}.", "check the path.")
    return StorageError(f"{it}: {reason}.", "check the disk, then try again.")


@contextlib.contextmanager
def draft(parent: Path, prefix: str) -> Generator[Path]:
    """Make a new, empty folder beside its later place, locked by this process and gone in the end unless renamed."""
    path = parent / f"{prefix}{secrets.token_hex(8)}"
    path.mkdir()
    hold = None
    try:
        with contextlib.suppress(OSError):  # some network disks know no locks; there a sweep removes nothing either
            hold = _lock(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if hold is not None:
            os.close(hold)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the drafts that a killed process left: those that nobody holds and that are not brand new."""
    with contextlib.suppress(OSError):
        left = [Path(entry) for entry in os.scandir(parent) if entry.name.startswith(prefix)]
        for path in left:
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _YOUNG_S:
                    hold = _lock(path)
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(hold)


def _lock(path: Path) -> int:
    """Lock a folder for as long as this process lives or until the returned handle is closed."""
    import fcntl

    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write new files into `folder` and flush them and the folder to the disk."""
    for name, body in files.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle, rest = os.open(folder / name, flags, 0o644), memoryview(body)
        try:
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    flush(folder)


def put(path: Path, body: bytes, what: str) -> None:
    """Write one file, `what` a person gave a name to: all of it appears, or nothing, and its folder is made."""
    check_plain(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with explained(path, what):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(path.parent, {aside.name: body})
            aside.replace(path)
            flush(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def check_plain(path: Path) -> None:
    """Raise `BadInputError` if `path` names a folder or a device, which no file may replace."""
    with explained(path, "a file"):
        if not path.name or (path.exists() and not path.is_file()):
            raise BadInputError(f"{path} is a folder or a device.", "give the name of a file.")


def flush(folder: Path) -> None:
    """Make what was created in or renamed into `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def land(source: Path, target: Path) -> None:
    """Move the folder `source` to `target` in one step; what `target` held, if anything, is at `source` then."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        _exchange(source, target)
    flush(target.parent)


def _exchange(source: Path, target: Path) -> None:
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        swap = None
    if swap and swap(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _EXCHANGE) == 0:
        return
    aside = source.with_name(f"{source.name}.old")
    target.rename(aside)
    source.rename(target)
    aside.rename(source)


def read(folder: Path, name: str, most_byte: int) -> bytes:
    """Read a plain file of at most `most_byte` bytes; raises `OSError` (ELOOP) for links, `CorruptError` if larger."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(folder / name, flags)
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.ELOOP, "not a plain file", name)
        if facts.st_size > most_byte:
            raise CorruptError(
                f"{folder / name} holds {facts.st_size} bytes, at most {most_byte} are expected.",
                "restore the folder from a backup, or make the artifact again.",
            )
        with open(handle, "rb", closefd=False) as file:
            return file.read(most_byte + 1)
    finally:
        os.close(handle)
