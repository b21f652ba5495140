"""Artifacts too large for memory: files copied, hashed and checked piece by piece, in folders as others are."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pennyweight.core.artifact import canonical
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError
from pennyweight.store import disk

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

_PIECE = 1 << 22
_MANIFEST, _SUMS = "manifest.json", "SHA256SUMS"
_MANIFEST_BYTE = 4 * 2**20
_MOST_FILES = 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DRAFT = ".draft-"


def keep(root: Path, kind: str, files: Mapping[str, Path], facts: Mapping[str, Any]) -> str:
    """Copy files into a folder below `root` that is named by their content, as `ArtifactStore` names its own.

    Each is a plain file; `kind` is the artifact's format and `facts` its meta. Returns the digest. Nothing is there
    before all of it is. Raises `BadInputError` for names that cannot be kept, `StorageError` if the disk is full.
    """
    wrong = next((name for name in files if not _NAME.fullmatch(name) or name == _MANIFEST), None)
    if wrong is not None or not 0 < len(files) <= _MOST_FILES:
        raise BadInputError(
            f"An artifact cannot hold {f'a file named {wrong!r}' if wrong else f'{len(files)} files'}.",
            f"give 1 to {_MOST_FILES} files named by a-z, 0-9, dot, dash and underscore.",
        )
    with disk.explained(root, "an artifact"):
        root.mkdir(parents=True, exist_ok=True)
        disk.sweep(root, _DRAFT)
        with disk.draft(root, _DRAFT) as draft:
            listed = {name: _copy(path, draft / name) for name, path in sorted(files.items())}
            manifest = canonical({"format": kind, "meta": dict(facts), "files": listed})
            disk.write(draft, {_MANIFEST: manifest, _SUMS: _sums(manifest, listed)})
            digest = sha256(manifest).hexdigest()
            disk.land(draft, root / digest)
    return digest


def about(root: Path, digest: str) -> dict[str, Any]:
    """The manifest of an artifact: its "format", "meta" and "files", without reading these.

    Raises `UnknownNameError` if there is none, `CorruptError` if it is not the one that the digest names.
    """
    folder = root / digest
    if not _DIGEST.fullmatch(digest) or not folder.is_dir():
        raise UnknownNameError.of("artifact", digest[:64], ())
    with disk.explained(folder, "an artifact"):
        body = disk.read(folder, _MANIFEST, _MANIFEST_BYTE)
    if sha256(body).hexdigest() != digest:
        raise _corrupt(folder, f"{_MANIFEST} is not the one the folder is named after")
    found: dict[str, Any] = json.loads(body)
    return found


def checked(root: Path, digest: str) -> Path:
    """The folder of an artifact after every byte of it was checked; raises as `about` does."""
    listed, folder = about(root, digest)["files"], root / digest
    with disk.explained(folder, "an artifact"):
        for name, row in listed.items():
            if not _NAME.fullmatch(name) or _hashed(folder / name) != row:
                raise _corrupt(folder, f"{name} has changed since it was written")
    return folder


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copy one file and return its row in the manifest."""
    with _opened(source) as handle:
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            row = _read(handle, made)
            os.fsync(made)
        finally:
            os.close(made)
    return row


def _hashed(path: Path) -> dict[str, Any]:
    with _opened(path) as handle:
        return _read(handle, None)


@contextmanager
def _opened(path: Path) -> Generator[int]:
    """A handle of a plain file; raises `OSError` (ELOOP) for anything else."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ELOOP, "not a plain file", path.name)
        yield handle
    finally:
        os.close(handle)


def _read(handle: int, into: int | None) -> dict[str, Any]:
    """Read to the end, writing it `into` another file; the size and the SHA-256."""
    room, found, size = memoryview(bytearray(_PIECE)), sha256(), 0
    while count := os.readv(handle, [room]):
        piece = room[:count]
        found.update(piece)
        size += count
        while into is not None and piece:
            piece = piece[os.write(into, piece) :]
    return {"sha256": found.hexdigest(), "byte": size}


def _sums(manifest: bytes, listed: Mapping[str, Any]) -> bytes:
    """The checksums in the form that `sha256sum --check` reads."""
    rows = [(sha256(manifest).hexdigest(), _MANIFEST), *((row["sha256"], name) for name, row in listed.items())]
    return "".join(f"{digest}  {name}\n" for digest, name in rows).encode()


def _corrupt(folder: Path, what: str) -> CorruptError:
    return CorruptError(f"The artifact in {folder} is damaged: {what}.", "delete the folder and register it again.")
