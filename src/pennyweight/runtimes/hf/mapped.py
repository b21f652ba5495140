"""Tensors of a checkpoint where they lie on the disk, and as constants of OpenVINO: nothing is copied before that.

Whole-number weights in the layout of compressed-tensors (`pack-quantized`, symmetric groups of 3, 4 or 8 bits, and
`int-quantized`) stay whole numbers, to be widened where they are used; those of 3 bits take 4, in memory of their own.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_LENGTH_BYTE = 8
_HEAD_BYTE = 100_000_000
_FLOATS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
_WORD_BITS = 32
_BITS = (3, 4, 8)
_NUMPY = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8, "U8": np.uint8}


@final
class Mapped:
    """The tensors of a checkpoint by name. What is mapped must live as long as what is made of it."""

    def __init__(self, folder: Path) -> None:
        self._told: dict[str, tuple[str, tuple[int, ...], NDArray[np.uint8]]] = {}
        self._made: list[NDArray[np.uint8]] = []
        where = _where(folder)
        for file in sorted(set(where.values())) if where else [_SINGLE]:
            self._map(folder / file, where)

    def __contains__(self, name: object) -> bool:
        return name in self._told

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def kind(self, name: str) -> str:
        """The type of a tensor, as safetensors names it; raises `BadInputError` if there is none, as all do."""
        return self._one(name)[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return self._one(name)[1]

    def array(self, name: str) -> NDArray[Any]:
        """A tensor as numbers; bfloat16 becomes float32, in memory of its own."""
        kind, shape, raw = self._one(name)
        if kind == "BF16":
            return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
        return raw.view(_NUMPY[kind]).reshape(shape)

    def constant(self, name: str) -> Any:
        """A float tensor as a node, in float32."""
        from openvino import Type
        from openvino import opset13 as ops

        kind, shape, raw = self._one(name)
        if kind not in _FLOATS:
            raise BadInputError(f"The tensor {name!r} is of the type {kind}.", "serve it with --runtime torch.")
        kept = ops.constant(_tensor(raw, shape, getattr(Type, _FLOATS[kind])), shared_memory=True)
        return kept if kind == "F32" else ops.convert(kept, "f32")

    def weight(self, layer: str) -> Any:
        """The weight (out, in) of a linear layer as a node, in float32 after it was widened."""
        if f"{layer}.weight_packed" in self:
            return self._packed(layer)
        if self.kind(f"{layer}.weight") == "I8":
            return self._whole(layer)
        return self.constant(f"{layer}.weight")

    def refused(self, layer: str) -> str:
        """Why a linear layer's weight cannot be used as it lies there; "" if it can."""
        if f"{layer}.weight" in self:
            kind = self.kind(f"{layer}.weight")
            scaled = kind == "I8" and f"{layer}.weight_scale" in self
            return "" if kind in _FLOATS or scaled else f"weights of the type {kind}"
        if any(f"{layer}.{odd}" in self for odd in ("weight_zero_point", "weight_g_idx")):
            return "weights with zero points, or whose columns are permuted"
        if not all(f"{layer}.{part}" in self for part in ("weight_packed", "weight_scale", "weight_shape")):
            return "weights that are packed in another way"
        if self._bits(layer) not in _BITS:
            return "weights of another number of bits than 3, 4 or 8"
        (rows, columns), scales = map(int, self.array(f"{layer}.weight_shape")), self.shape(f"{layer}.weight_scale")
        fits = self.shape(f"{layer}.weight_packed")[0] == rows == scales[0] and columns % scales[1] == 0
        return "" if fits else "packed weights that are not of the shape they are said to be"

    def _bits(self, layer: str) -> float:
        columns = int(self.array(f"{layer}.weight_shape")[1])
        return self.shape(f"{layer}.weight_packed")[1] * _WORD_BITS / columns

    def _packed(self, layer: str) -> Any:
        """Codes from 0, of which the middle one is zero, times the scale of their group."""
        from openvino import Tensor, Type
        from openvino import opset13 as ops

        rows, columns = map(int, self.array(f"{layer}.weight_shape"))
        bits = int(self._bits(layer))
        scales = np.ascontiguousarray(self.array(f"{layer}.weight_scale"), np.float32)
        groups = scales.shape[1]
        stored = max(bits, 4)
        raw, kind = self._one(f"{layer}.weight_packed")[2], getattr(Type, f"u{stored}")
        lies = self._own(_spread(raw)) if bits == 3 else raw
        codes = ops.constant(_tensor(lies, (rows, groups, columns // groups), kind), shared_memory=True)
        middle = np.array([1 << (bits - 1)] * (8 // stored), np.uint8)
        zero = ops.constant(Tensor(self._own(_nibbles(middle) if stored == 4 else middle), [1, 1, 1], kind))
        found = ops.subtract(ops.convert(codes, "f32"), ops.convert(zero, "f32"))
        found = ops.multiply(found, ops.constant(scales.reshape(rows, groups, 1)))
        return ops.reshape(found, ops.constant(np.array([rows, columns], np.int64)), special_zero=False)

    def _own(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Numbers that live as long as this: a constant made of a tensor looks at them, even if told to copy."""
        self._made.append(array)
        return array

    def _whole(self, layer: str) -> Any:
        from openvino import Type
        from openvino import opset13 as ops

        _, shape, raw = self._one(f"{layer}.weight")
        codes = ops.constant(_tensor(raw, shape, Type.i8), shared_memory=True)
        scales = np.ascontiguousarray(self.array(f"{layer}.weight_scale"), np.float32)
        return ops.multiply(ops.convert(codes, "f32"), ops.constant(scales.reshape(shape[0], -1)))

    def _one(self, name: str) -> tuple[str, tuple[int, ...], NDArray[np.uint8]]:
        if name not in self._told:
            raise BadInputError(f"The checkpoint has no tensor {name!r}.", "download the model again.")
        return self._told[name]

    def _map(self, path: Path, where: Mapping[str, str]) -> None:
        """Map what one file holds, but not what the index says is in another."""
        whole = np.memmap(path, np.uint8, "c")  # written to by nobody; the library takes no array that cannot be
        length = int.from_bytes(whole[:_LENGTH_BYTE].tobytes(), "little")
        if not 0 < length <= min(_HEAD_BYTE, len(whole) - _LENGTH_BYTE):
            raise _damaged(path)
        base = _LENGTH_BYTE + length
        try:
            for name, told in json.loads(whole[_LENGTH_BYTE:base].tobytes()).items():
                if name != "__metadata__" and where.get(name, path.name) == path.name:
                    begin, end = (base + int(at) for at in told["data_offsets"])
                    self._told[name] = str(told["dtype"]), tuple(map(int, told["shape"])), whole[begin:end]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(path) from error


def _spread(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes of 3 bits, eight of them in three bytes, as codes of 4 bits."""
    if len(raw) % 3:
        raise CorruptError("Packed weights of 3 bits are cut short.", "download the model again.")
    threes = raw.reshape(-1, 3).astype(np.uint32)
    eight = threes[:, 0] | threes[:, 1] << np.uint32(8) | threes[:, 2] << np.uint32(16)
    found = np.zeros(len(eight), "<u4")
    for place in range(8):
        found |= (eight >> np.uint32(3 * place) & np.uint32(7)) << np.uint32(4 * place)
    return found.view(np.uint8)


def _nibbles(pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array([pair[0] | pair[1] << 4], np.uint8)


def _tensor(raw: NDArray[np.uint8], shape: Sequence[int], kind: Any) -> Any:
    """A tensor of the library over these bytes, which it does not count itself: it would read on behind them."""
    from openvino import Tensor

    if 8 * len(raw) != math.prod(shape) * kind.bitwidth:
        raise CorruptError("A tensor has another number of bytes than its shape says.", "download the model again.")
    return Tensor(raw, list(shape), kind)


def _where(folder: Path) -> dict[str, str]:
    """The file of each tensor, as the index says; empty where there is one file only."""
    if not (folder / _INDEX).is_file():
        return {}
    found: dict[str, str] = json.loads((folder / _INDEX).read_bytes())["weight_map"]
    return found


def _damaged(path: Path) -> CorruptError:
    return CorruptError(f"{path} is no safetensors file.", "download or copy that file again.")
