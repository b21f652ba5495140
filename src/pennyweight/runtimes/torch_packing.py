"""Packed tensors back to dense ones, bit by bit; parts that do not fit each other are refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core.stored_graph import part_name
from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

_SCHEMES = (
    ["table", "indices"],
    ["bitmap", "values"],
    ["bitmap", "signs", "values"],
    ["bitmap", "table", "indices"],
    ["bitmap", "signs", "table", "indices"],
)
_FLOATS = frozenset({"values", "table"})
_MOST_SHARED = 256
_MOST_AXES = 16
_LONGEST = 2**48
_SIGN = 31  # the bit of a float32 that says minus

_Parts = dict[str, "NDArray[Any]"]


def unpack(tensors: Mapping[str, Tensor], records: Any) -> dict[str, Tensor]:
    """The tensors as the model had them; `records` says for each packed one its shape and its parts.

    A part is never smaller than a bit per weight, so what comes out is at most 32 times the size of the file.
    Raises `CorruptError` for records or parts that the packing does not write.
    """
    import torch

    if not isinstance(records, dict):
        raise _corrupt("has no records of packed tensors")
    held = dict(tensors)
    whole = {}
    for name, record in records.items():
        shape, names = _read(name, record)
        parts = {each: _array(held.pop(part_name(name, each), None), name, each) for each in names}
        whole[name] = torch.from_numpy(_dense(parts, math.prod(shape)).reshape(shape))
    if held.keys() & whole.keys():
        raise _corrupt("holds a tensor twice, packed and dense")
    return held | whole


def _read(name: str, record: Any) -> tuple[list[int], list[str]]:
    """The shape and the names of the parts."""
    shape, names = (record.get("shape"), record.get("parts")) if isinstance(record, dict) else (None, None)
    if names not in _SCHEMES:
        raise _corrupt(f"packs {name[:80]!r} in a way that is not known")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise _corrupt(f"gives {name[:80]!r} no shape")
    if any(type(length) is not int or not 1 <= length <= _LONGEST for length in shape):
        raise _corrupt(f"gives {name[:80]!r} an axis of no possible length")
    return shape, names


def _array(tensor: Tensor | None, name: str, part: str) -> NDArray[Any]:
    import torch

    kind = torch.float32 if part in _FLOATS else torch.uint8
    if tensor is None or tensor.dtype is not kind or tensor.dim() != 1:
        raise _corrupt(f"lacks the {part} of {name[:80]!r}")
    array: NDArray[Any] = tensor.numpy()
    return array


def _dense(parts: _Parts, count: int) -> NDArray[np.float32]:
    """The weights, in a row: all bits are moved, none is computed with, as arithmetic may change a NaN."""
    if "bitmap" not in parts:
        return _kept(parts, count).view(np.float32)
    full = _fields(parts["bitmap"], 1, count).view(bool)
    bits = np.zeros(count, np.uint32)
    bits[full] = _kept(parts, int(full.sum()))
    if "signs" in parts:
        bits[~full] = _fields(parts["signs"], 1, count - int(full.sum())).astype(np.uint32) << _SIGN
    return bits.view(np.float32)


def _kept(parts: _Parts, count: int) -> NDArray[np.uint32]:
    """The bits of `count` weights that are written out, or looked up in the table."""
    if "values" in parts:
        if len(parts["values"]) != count:
            raise _corrupt(f"has {len(parts['values'])} values where {count} are needed")
        return parts["values"].view(np.uint32)
    table = parts["table"].view(np.uint32)
    if not 1 <= len(table) <= _MOST_SHARED:
        raise _corrupt(f"has a table of {len(table)} values")
    index = _fields(parts["indices"], max(1, (len(table) - 1).bit_length()), count)
    if index.size and index.max() >= len(table):
        raise _corrupt("has an index beyond its table")
    return table[index]


def _fields(packed: NDArray[np.uint8], width: int, count: int) -> NDArray[np.uint8]:
    """`count` numbers of `width` bits each."""
    used = count * width
    if len(packed) != -(-used // 8):
        raise _corrupt(f"has {len(packed)} bytes for {count} fields of {width} bits")
    bits = np.unpackbits(packed)
    if bits[used:].any():
        raise _corrupt("has bits behind its last field")
    if width == 1:
        return bits[:used]
    rows: NDArray[np.uint8] = np.packbits(bits[:used].reshape(count, width), axis=1).reshape(-1)
    return np.right_shift(rows, np.uint8(8 - width))


def _corrupt(what: str) -> CorruptError:
    return CorruptError(f"The stored graph {what}.", "export the model again, or fetch the artifact from its source.")
