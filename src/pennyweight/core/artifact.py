"""A finished model as files, named by their content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol


@dataclass(frozen=True)
class Artifact:
    """What a runtime loads: a `format` ("onnx", "torch", "openvino", "sklearn"), its files, and facts about them.

    `meta` is JSON-compatible and small (input shape and type, outputs, runtime settings, what was done). The digest
    covers everything, so equal content has an equal name.
    """

    format: str
    files: tuple[tuple[str, bytes], ...]
    meta: tuple[tuple[str, Any], ...] = ()

    def file(self, name: str) -> bytes:
        """The bytes of one file."""
        return dict(self.files)[name]

    @property
    def facts(self) -> dict[str, Any]:
        """The meta pairs as a dictionary."""
        return dict(self.meta)

    @property
    def disk_byte(self) -> int:
        """The bytes of all files."""
        return sum(len(body) for _, body in self.files)

    @property
    def manifest(self) -> dict[str, Any]:
        """Format, facts, and the size and SHA-256 of each file."""
        hashes = {name: {"sha256": sha256(body).hexdigest(), "byte": len(body)} for name, body in self.files}
        return {"format": self.format, "meta": self.facts, "files": dict(sorted(hashes.items()))}

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the canonical manifest."""
        return sha256(canonical(self.manifest)).hexdigest()


class Session(Protocol):
    """A loaded model, ready to answer: arrays in, arrays out, first axis the batch."""

    def predict(self, x: Any) -> Any:
        """Answer a batch: class scores `(B, classes)`, values `(B,)`, or next-token scores `(B, T, vocabulary)`."""


def canonical(value: Any) -> bytes:
    """Encode JSON with one spelling per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
