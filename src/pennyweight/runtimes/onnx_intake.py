"""What an ONNX file may hold before any library executes it: one whole model, and nothing outside of the file.

The file is walked as what it is, nested fields of protocol buffers, and no weight is looked at. To build the message in
memory instead, with the library of ONNX, would cost every process that serves a model 15 MB and 0.2 s, and hold its
weights twice. Where parsers could disagree about a field (twice given, of another type than expected), all of what is
there counts. Cost grows with the number of nodes and tensors, not with the weights.

Source: https://protobuf.dev/programming-guides/encoding/ and onnx/onnx.proto of https://github.com/onnx/onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Artifact

MODEL_FILE = "model.onnx"
_FIX = "export the model again, or fetch the artifact from its source."

# What messages hold that holds tensors, by the numbers of fields.
_WITHIN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_ELSEWHERE = frozenset({13, 14})  # of a tensor: where its values are, and that they are there
_GRAPH, _INPUT, _OUTPUT = 7, 11, 12
_VARINT, _EIGHT, _LONG, _FOUR = 0, 1, 2, 5
_FIXED = {_EIGHT: 8, _FOUR: 4}
_VARINT_BYTE = 10


def admit(artifact: Artifact, name: str = MODEL_FILE, *, inputs: int | None = 1) -> bytes:
    """Return the ONNX bytes in the file `name` of an artifact.

    Raises `CorruptError` if they are no ONNX model with so many `inputs` (None: any number), or if a tensor points to
    another file: a path in a model is an instruction to read whatever the serving process can read.
    """
    body = dict(artifact.files).get(name)
    if body is None:
        raise CorruptError(f"The artifact has no file {name}.", _FIX)
    try:
        elsewhere = _elsewhere(memoryview(body))
        graphs = [value for number, value in _fields(memoryview(body)) if number == _GRAPH]
        ends = [number for graph in graphs if graph is not None for number, _ in _fields(graph)]
    except _NoFieldsError:
        raise CorruptError(f"{name} cannot be read as an ONNX model.", _FIX) from None
    given = ends.count(_INPUT)
    if inputs not in {None, given} or _OUTPUT not in ends:
        raise CorruptError(f"{name} has {given} inputs where {inputs} are expected.", _FIX)
    if elsewhere:
        raise CorruptError(f"{name} keeps weights outside of the file.", "export it with its weights inside.")
    return body


class _NoFieldsError(Exception):
    """Bytes are no protocol buffer."""


def _elsewhere(body: memoryview) -> bool:
    """Whether a tensor, however deep, says that its values are in another place, if only that they could be."""
    left = [("model", body)]
    while left:
        kind, message = left.pop()
        within = _WITHIN[kind]
        for number, value in _fields(message):
            if kind == "tensor" and number in _ELSEWHERE and not _zero(value):
                return True
            if value is not None and number in within:
                left.append((within[number], value))
    return False


def _zero(value: memoryview | None) -> bool:
    """Whether a number is written out that means nothing is elsewhere."""
    return value is not None and len(value) == 0


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """The numbers of the fields of a message, and what is in those that have a length: others are None.

    A number that is zero is told as no bytes. Raises `_NoFieldsError` where bytes end early or are of no known kind.
    """
    at, size = 0, len(message)
    while at < size:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, (None if value else message[:0])
            continue
        if wire == _LONG:
            length, at = _varint(message, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise _NoFieldsError
        if not number or at + length > size:
            raise _NoFieldsError
        yield number, (message[at : at + length] if wire == _LONG else None)
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next field begins."""
    found = 0
    for place in range(_VARINT_BYTE):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return found, at
    raise _NoFieldsError
