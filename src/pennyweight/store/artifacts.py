"""Finished models in folders named by their content, whole or not there at all, and checked byte for byte when read."""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pennyweight.core.artifact import Artifact, canonical
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError
from pennyweight.store import disk

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTE = 16 * 2**30
"""What the files of one artifact may take together."""

_MOST_FILES = 256
_MANIFEST_BYTE = 4 * 2**20
_MANIFEST, _SUMS = "manifest.json", "SHA256SUMS"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DRAFT = ".draft-"


@final
class ArtifactStore:
    """A folder of artifacts, each in a folder named by its digest: `manifest.json`, `SHA256SUMS` and the files.

    Several processes may use one store. What a killed process left half-written was never visible and is removed
    when the store is opened again.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        disk.sweep(self.root, _DRAFT)

    def put(self, artifact: Artifact) -> str:
        """Keep an artifact and return its digest; the same content again costs one check.

        Raises `BadInputError` for file names or facts that cannot be kept, `PennyweightError` if the disk is full.
        """
        sheets = _sheets(artifact)
        digest = sha256(sheets[_MANIFEST]).hexdigest()
        target = self.root / digest
        if not _sound(target):
            with disk.explained(target, "an artifact"):
                self.root.mkdir(parents=True, exist_ok=True)
                _publish(artifact, sheets, target, _DRAFT)
        return digest

    def get(self, digest: str) -> Artifact:
        """Read the artifact named `digest`; raises `UnknownNameError`, or `CorruptError` if any byte has changed."""
        folder = self.root / digest if _DIGEST.fullmatch(digest) else None
        if folder is None or not folder.is_dir():
            raise UnknownNameError.of("artifact", digest, self)
        return _load(folder, MOST_BYTE, digest)

    def __contains__(self, digest: object) -> bool:
        return isinstance(digest, str) and bool(_DIGEST.fullmatch(digest)) and (self.root / digest).is_dir()

    def __iter__(self) -> Iterator[str]:
        """The digests kept here, sorted."""
        names = (path.name for path in self.root.iterdir()) if self.root.is_dir() else ()
        return iter(sorted(filter(_DIGEST.fullmatch, names)))


def save(artifact: Artifact, folder: Path | str) -> Path:
    """Write an artifact as one folder, such as `winner.pw`, that `load` reads; returns the folder.

    An artifact that is there already is replaced in one step; anything else that is there is left alone and
    refused with `BadInputError`.
    """
    target, sheets = Path(folder), _sheets(artifact)
    check_free(target)
    with disk.explained(target, "the artifact"):
        prefix = f".{target.name}{_DRAFT}"
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.sweep(target.parent, prefix)
        _publish(artifact, sheets, target, prefix)
    return target


def check_free(folder: Path) -> None:
    """Raise `BadInputError` if there is something at `folder` that is no artifact, which `save` would not replace."""
    with disk.explained(folder, "the artifact"):
        if folder.is_symlink() or (folder.exists() and not _replaceable(folder)):
            raise BadInputError(f"{folder} is there already and is no artifact.", "give another name.")


def load(folder: Path | str, *, most_byte: int = MOST_BYTE) -> Artifact:
    """Read the artifact in `folder` after checking names, sizes and hashes; nothing in it is executed.

    Raises `BadInputError` if there is none, and `CorruptError` if it is incomplete, changed, linked elsewhere or larger
    than `most_byte`.
    """
    source = Path(folder)
    if not source.is_dir() or not any(os.path.lexists(source / name) for name in (_MANIFEST, _SUMS)):
        raise BadInputError(f"There is no artifact at {source}.", "give the folder that was saved, such as winner.pw.")
    return _load(source, most_byte)


def _publish(artifact: Artifact, sheets: dict[str, bytes], target: Path, prefix: str) -> None:
    with disk.draft(target.parent, prefix) as draft:
        disk.write(draft, dict(artifact.files) | sheets)
        disk.land(draft, target)


def _sheets(artifact: Artifact) -> dict[str, bytes]:
    """The manifest and the checksums, after refusing what could not be read back."""
    names = [name for name, _ in artifact.files]
    wrong = next((name for name in names if not _allowed(name)), None)
    if wrong is not None:
        raise BadInputError(
            f"An artifact cannot hold a file named {wrong!r}.",
            "use up to 64 of a-z, 0-9, dot, dash and underscore, starting with a letter or digit.",
        )
    if len(set(names)) != len(names) or not 0 < len(names) <= _MOST_FILES or artifact.disk_byte > MOST_BYTE:
        raise BadInputError(
            f"An artifact of {len(names)} files ({len(set(names))} names, {artifact.disk_byte} bytes) cannot be kept.",
            f"give 1 to {_MOST_FILES} files with different names and at most {MOST_BYTE} bytes in all.",
        )
    try:
        listed = artifact.manifest
        manifest = canonical(listed)
        same = canonical(json.loads(manifest, parse_constant=_refuse)) == manifest
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"The facts about an artifact are no plain JSON: {error}.",
            "keep text, finite numbers, lists, dictionaries.",
        ) from error
    if not same or len(manifest) > _MANIFEST_BYTE:
        raise BadInputError(
            f"The facts about an artifact take {len(manifest)} bytes, or have keys that are no text.",
            f"use text for keys and move what is long into a file; {_MANIFEST_BYTE} bytes is the most.",
        )
    return {_MANIFEST: manifest, _SUMS: _sums(manifest, listed["files"])}


def _allowed(name: object) -> bool:
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and name != _MANIFEST


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not finite")


def _sums(manifest: bytes, files: dict[str, Any]) -> bytes:
    """The checksums in the form that `sha256sum --check` reads."""
    rows = [(sha256(manifest).hexdigest(), _MANIFEST), *((facts["sha256"], name) for name, facts in files.items())]
    return "".join(f"{digest}  {name}\n" for digest, name in rows).encode()


def _replaceable(target: Path) -> bool:
    """Whether a folder holds nothing, or an artifact and nothing else."""
    if not target.is_dir():
        return False
    names = {path.name for path in target.iterdir()}
    if _MANIFEST not in names:
        return not names
    try:
        listed, _ = _listed(target, disk.read(target, _MANIFEST, _MANIFEST_BYTE), MOST_BYTE)
    except (CorruptError, OSError):
        return False
    return names <= {_MANIFEST, _SUMS, *listed}


def _sound(folder: Path) -> bool:
    try:
        _load(folder, MOST_BYTE, folder.name)
    except (CorruptError, BadInputError):
        return False
    return True


def _load(folder: Path, most_byte: int, digest: str | None = None) -> Artifact:
    if folder.is_symlink():
        raise CorruptError(f"{folder} is a link.", f"use the folder itself: {folder.readlink()}.")
    with disk.explained(folder, "an artifact"):
        try:
            return _checked(folder, most_byte, digest)
        except FileNotFoundError as error:
            raise _corrupt(folder, f"{Path(str(error.filename)).name} is missing") from error


def _checked(folder: Path, most_byte: int, digest: str | None) -> Artifact:
    manifest = disk.read(folder, _MANIFEST, _MANIFEST_BYTE)
    listed, facts = _listed(folder, manifest, most_byte)
    if disk.read(folder, _SUMS, _MANIFEST_BYTE) != _sums(manifest, listed):
        raise _corrupt(folder, f"{_SUMS} and {_MANIFEST} disagree")
    if digest is not None and sha256(manifest).hexdigest() != digest:
        raise _corrupt(folder, f"{_MANIFEST} is not the one the folder is named after")
    files = tuple((name, _file(folder, name, row)) for name, row in listed.items())
    return Artifact(facts["format"], files, tuple(facts["meta"].items()))


def _listed(folder: Path, manifest: bytes, most_byte: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of the manifest's files and the whole of it, if it is one that `_sheets` could have written."""
    try:
        facts = json.loads(manifest)
        sane = _sane(facts, most_byte) and canonical(facts) == manifest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _corrupt(folder, f"{_MANIFEST} is not readable") from error
    if not sane:
        raise _corrupt(folder, f"{_MANIFEST} lists what no artifact may hold, or more than {most_byte} bytes")
    return facts["files"], facts


def _sane(facts: dict[str, Any], most_byte: int) -> bool:
    listed = facts["files"]
    kinds = set(facts) == {"format", "meta", "files"} and isinstance(facts["format"], str)
    names = all(map(_allowed, listed)) and 0 < len(listed) <= _MOST_FILES
    sizes = sum(_size(row) for row in listed.values()) <= most_byte
    return kinds and names and sizes and isinstance(facts["meta"], dict)


def _size(row: dict[str, Any]) -> int:
    size = row["byte"]
    if set(row) != {"byte", "sha256"} or type(size) is not int or size < 0 or not _DIGEST.fullmatch(row["sha256"]):
        raise ValueError("no size and hash")
    return size


def _file(folder: Path, name: str, row: dict[str, Any]) -> bytes:
    body = disk.read(folder, name, row["byte"])
    if len(body) != row["byte"] or sha256(body).hexdigest() != row["sha256"]:
        raise _corrupt(folder, f"{name} has changed since it was written")
    return body


def _corrupt(folder: Path, what: str) -> CorruptError:
    return CorruptError(
        f"The artifact in {folder} is damaged: {what}.",
        "copy it again from where it came from, or delete the folder and run the search again.",
    )
