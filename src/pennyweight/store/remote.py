"""Artifacts at any URL that fsspec knows, named by their content and checked byte for byte when read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.core.artifact import Artifact, canonical
from pennyweight.errors import BadInputError, CorruptError, MissingExtraError, StorageError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANIFEST = "manifest.json"
_MANIFEST_BYTE = 4 * 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@final
@dataclass(frozen=True)
class RemoteStore:
    """Artifacts below `url`, such as s3://bucket/models: each in a folder named by its digest.

    The manifest is written last: what has none is not there. Nothing is ever changed or removed.
    """

    url: str

    def put(self, artifact: Artifact) -> str:
        """Keep an artifact and return its digest; raises `StorageError` if the place cannot be written."""
        digest = artifact.digest
        if digest in self:
            return digest
        files, root = self._opened()
        place = f"{root}/{digest}"
        try:
            files.makedirs(place, exist_ok=True)
            for name, body in artifact.files:
                files.pipe_file(f"{place}/{_named(name)}", body)
            files.pipe_file(f"{place}/{_MANIFEST}", canonical(artifact.manifest))
        except OSError as error:
            raise StorageError(
                f"Nothing can be kept at {self.url}: {error.strerror or type(error).__name__}.",
                "see that it is there and that you may write to it.",
            ) from error
        return digest

    def get(self, digest: str) -> Artifact:
        """Read the artifact named `digest`; raises `UnknownNameError`, or `CorruptError` if any byte has changed."""
        if digest not in self:
            raise UnknownNameError.of("artifact", digest[:64], self)
        files, root = self._opened()
        place = f"{root}/{digest}"
        manifest = files.cat_file(f"{place}/{_MANIFEST}", end=_MANIFEST_BYTE)
        if sha256(manifest).hexdigest() != digest:
            raise CorruptError(f"The manifest of {digest[:12]} at {self.url} has changed.", "put the artifact again.")
        facts = json.loads(manifest)
        bodies = tuple(
            (name, self._body(files, f"{place}/{_named(name)}", row)) for name, row in facts["files"].items()
        )
        return Artifact(facts["format"], bodies, tuple(facts["meta"].items()))

    def _body(self, files: Any, path: str, row: dict[str, Any]) -> bytes:
        try:
            body: bytes = files.cat_file(path, end=row["byte"] + 1)
        except FileNotFoundError:
            body = b""
        if len(body) != row["byte"] or sha256(body).hexdigest() != row["sha256"]:
            raise CorruptError(
                f"{path.rpartition('/')[2]} of an artifact at {self.url} is missing or has changed.",
                "put the artifact again.",
            )
        return body

    def __contains__(self, digest: object) -> bool:
        if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            return False
        files, root = self._opened()
        return bool(files.exists(f"{root}/{digest}/{_MANIFEST}"))

    def __iter__(self) -> Iterator[str]:
        """The digests kept here, sorted."""
        files, root = self._opened()
        names = (
            path.rstrip("/").rpartition("/")[2] for path in (files.ls(root, detail=False) if files.exists(root) else ())
        )
        return iter(sorted(filter(_DIGEST.fullmatch, names)))

    def _opened(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise MissingExtraError.of("fsspec", "data") from error
        try:
            files, root = url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise BadInputError(
                f"There is no way to reach {self.url}: {error}.", "give a URL that fsspec knows."
            ) from error
        return files, str(root).rstrip("/")


def _named(name: str) -> str:
    if not _NAME.fullmatch(name) or name == _MANIFEST:
        raise BadInputError(f"An artifact cannot hold a file named {name!r}.", "rename it.")
    return name
