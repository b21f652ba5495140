"""What the files of a version may hold: graphs and numbers in formats that carry no code, by content, not by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.onnx_intake import admit

if TYPE_CHECKING:
    from pennyweight.core import Artifact

_LENGTH_BYTE = 8  # before the header of a safetensors file
_HEADER_BYTE = 100 * 2**20
_RAW = {"openvino": "model.bin"}  # numbers that the graph beside them describes
_FIX = "make the artifact again, or fetch it from its source."


def inspect(artifact: Artifact) -> None:
    """Look into every file of an artifact before it becomes a version; nothing in it is loaded or run.

    Raises `BadInputError` for a kind of file that is not served, `CorruptError` for one that is not what it is named.
    """
    for name, body in artifact.files:
        if name == _RAW.get(artifact.format):
            continue
        match name.rpartition(".")[2]:
            case "onnx":
                admit(artifact, name, inputs=None)
            case "safetensors":
                _tensors(name, body)
            case "json":
                _object(name, body)
            case "xml":
                _marked(name, body)
            case _:
                raise BadInputError(f"An artifact with a file {name} is not served.", "leave that file out.")


def _tensors(name: str, body: bytes) -> None:
    long = int.from_bytes(body[:_LENGTH_BYTE], "little")
    if not 2 <= long <= min(_HEADER_BYTE, len(body) - _LENGTH_BYTE):
        raise CorruptError(f"{name} is no safetensors file.", _FIX)
    _object(name, body[_LENGTH_BYTE : _LENGTH_BYTE + long])


def _object(name: str, body: bytes) -> None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{name} is not what its name says.", _FIX) from error
    if not isinstance(found, dict | list):
        raise CorruptError(f"{name} is not what its name says.", _FIX)


def _marked(name: str, body: bytes) -> None:
    """XML without declarations of its own, which could point to other files."""
    if not body.lstrip()[:1] == b"<" or b"<!ENTITY" in body or b"<!DOCTYPE" in body:
        raise CorruptError(f"{name} is no plain XML.", _FIX)
