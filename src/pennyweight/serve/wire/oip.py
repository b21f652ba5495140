"""The Open Inference Protocol, version 2: tensors as JSON, or as bytes behind a JSON header.

Source: https://github.com/open-inference/open-inference-protocol, and its binary tensor extension.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson
import simdjson

from pennyweight.serve.refused import bad

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_VALUES = 1 << 26
MOST_AXES = 8
_KINDS: dict[str, np.dtype[Any]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "UINT64": np.dtype("<u8"),
    "UINT32": np.dtype("<u4"),
    "UINT16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_FROM: dict[str, set[type]] = {
    "f": {float, int},
    "i": {int},
    "u": {int},
    "b": {bool, int},
}  # what becomes a number of a kind unchanged
_FAST = {"FP32", "FP64"}  # numbers that need not become Python's on their way to an array


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Body(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    outputs: list[_Output] = []
    parameters: dict[str, Any] = {}


_READ = msgspec.json.Decoder(_Body)
_NUMBERS = simdjson.Parser()


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: rows (B, …), the caller's `id` for it, and whether the answer is wanted as bytes."""

    rows: NDArray[Any]
    id: str
    binary: bool


def datatypes() -> tuple[str, ...]:
    """The names of the types that a tensor may have."""
    return tuple(_KINDS)


def read(body: bytes, header_byte: int | None = None) -> Ask:
    """The question in a request of `body`, whose first `header_byte` bytes are JSON if tensors follow as bytes.

    One input tensor is what models here take. Raises `RefusedError` (400) for anything else.
    """
    if header_byte is not None and not 0 < header_byte <= len(body):
        raise bad("Inference-Header-Content-Length is not within the body.")
    try:
        asked = _READ.decode(body if header_byte is None else memoryview(body)[:header_byte])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad(f"The body is no inference request: {str(error)[:200]}") from None
    if len(asked.inputs) != 1:
        raise bad(f"The request has {len(asked.inputs)} inputs; give one.")
    tensor = asked.inputs[0]
    kind = _checked(tensor)
    if "binary_data_size" in tensor.parameters:
        rows = _from_bytes(tensor, kind, memoryview(body)[header_byte:] if header_byte else memoryview(b""))
    elif header_byte is not None and header_byte != len(body):
        raise bad("Bytes follow the header, and no input has parameters.binary_data_size.")
    else:
        rows = _from_json(tensor, kind)
    return Ask(rows, asked.id, _binary(asked))


def written(answer: NDArray[Any], ask: Ask, model: str, version: str) -> tuple[bytes, dict[str, str]]:
    """The body of a reply with one output, and its headers."""
    kind = _NAMES.get(answer.dtype.newbyteorder("<"))
    if kind is None:
        answer, kind = answer.astype(np.float32), "FP32"
    output: dict[str, Any] = {"name": "output", "shape": answer.shape, "datatype": kind}
    told = {"model_name": model, "model_version": version, "id": ask.id, "outputs": [output]}
    if not ask.binary:
        output["data"] = np.ascontiguousarray(answer).reshape(-1)
        return _json(told), {"content-type": "application/json"}
    raw = np.ascontiguousarray(answer, _KINDS[kind]).tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    header = _json(told)
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(header))}
    return header + raw, headers


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # float16 and the like
        return orjson.dumps(value, default=lambda array: array.tolist())


def _checked(tensor: _Tensor) -> np.dtype[Any]:
    kind = _KINDS.get(tensor.datatype)
    if kind is None:
        raise bad(f"Data type {tensor.datatype[:20]!r} is not one of {', '.join(_KINDS)}.")
    shape = tensor.shape
    if not 0 < len(shape) <= MOST_AXES or any(size < 0 for size in shape) or prod(shape) > MOST_VALUES:
        raise bad(f"A shape has 1 to {MOST_AXES} sizes that are not negative, and {MOST_VALUES} values at most.")
    if not prod(shape):
        raise bad("The input is empty; give at least one row.")
    return kind


def _from_json(tensor: _Tensor, kind: np.dtype[Any]) -> NDArray[Any]:
    raw = bytes(tensor.data)
    if tensor.datatype in _FAST and raw.find(b"[", 1) < 0 and (found := _floats(raw, kind)) is not None:
        return _shaped(found, tensor)
    try:
        data = np.asarray(orjson.loads(raw), object).reshape(-1)
        with np.errstate(over="raise"):
            flat = data.astype(kind) if set(map(type, data)) <= _FROM[kind.kind] else None
    except (ValueError, TypeError, OverflowError, RecursionError, FloatingPointError):
        flat = None
    if flat is None:
        raise bad(f"The data of {tensor.name[:40]!r} are not values of {tensor.datatype}.")
    return _shaped(flat, tensor)


def _floats(raw: bytes, kind: np.dtype[Any]) -> NDArray[Any] | None:
    """The numbers in a flat list, which take half the time that they do as Python's; None if it is something else."""
    try:
        found = _NUMBERS.parse(raw)
        if not isinstance(found, simdjson.Array):
            return None
        with np.errstate(over="raise"):
            return np.frombuffer(found.as_buffer(of_type="d")).astype(kind, copy=False)
    except (ValueError, TypeError, RuntimeError, FloatingPointError):
        return None


def _from_bytes(tensor: _Tensor, kind: np.dtype[Any], rest: memoryview) -> NDArray[Any]:
    size = tensor.parameters["binary_data_size"]
    if type(size) is not int or size != len(rest) or size % kind.itemsize:
        raise bad("parameters.binary_data_size is not the number of bytes behind the header.")
    return _shaped(np.frombuffer(rest, kind), tensor)


def _shaped(flat: NDArray[Any], tensor: _Tensor) -> NDArray[Any]:
    if flat.size != prod(tensor.shape):
        raise bad(f"{flat.size} values are no tensor of shape {tensor.shape}.")
    return flat.reshape(tensor.shape)


def _binary(asked: _Body) -> bool:
    """Whether the answer is wanted as bytes: of the output if it says so, else of all."""
    every = bool(asked.parameters.get("binary_data_output", False))
    return bool(asked.outputs[0].parameters.get("binary_data", every)) if asked.outputs else every
