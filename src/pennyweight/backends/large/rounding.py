"""Rounding to nearest by groups: each group of weights becomes whole numbers of 3, 4 or 8 bits and one scale.

With m the largest magnitude of a group and b bits, the scale is s = m / (2^(b-1) - 1/2), itself rounded to the type of
the weights, and a weight w becomes q = round(w / s), clipped to [-2^(b-1), 2^(b-1) - 1] and stored as q + 2^(b-1).
Source: the symmetric group-wise scheme of compressed-tensors (`calculate_qparams`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.backends.large.packing import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE = 1 << 18  # weights worked on at a time: what they need fits the cache of a core
TILE_BYTE = 24 * TILE  # of all that is held for a tile
FLOATS = {"BF16": 2, "F16": 2, "F32": 4}
_MAGNITUDE = {"BF16": 0x7FFF, "F16": 0x7FFF, "F32": 0x7FFF_FFFF}
_INFINITE = {"BF16": 0x7F80, "F16": 0x7C00, "F32": 0x7F80_0000}
_LONG = 64  # groups
SHIFTED = np.float32(1.5 * 2**23)  # added to a small number, its last bits become the number rounded to nearest even


@final
@dataclass(frozen=True, slots=True)
class Rounding:
    """How to round: `bits` (3, 4 or 8), how many neighbours in a row share a scale, and to which `kind` of numbers.

    The kinds: "int", whole numbers and a scale of the type of the weights; "mx", numbers of 4 bits and a power of two.
    """

    bits: int
    group: int
    kind: str = "int"

    @property
    def offset(self) -> int:
        """What is added to a whole number so that it is not negative."""
        return 1 << (self.bits - 1)

    def scale_type(self, dtype: str) -> str:
        """The type of the scales of weights of `dtype`."""
        return "U8" if self.kind == "mx" else dtype

    def scale_byte(self, dtype: str) -> int:
        """Bytes of a scale of weights of `dtype`."""
        return 1 if self.kind == "mx" else FLOATS[dtype]


def bits_in(raw: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """The bytes of numbers of `dtype` as unsigned whole numbers of the same width."""
    whole: NDArray[Any] = raw.view(np.uint32 if FLOATS[dtype] == 4 else np.uint16)
    return whole


def as_float32(bits: NDArray[Any], dtype: str, out: NDArray[np.float32]) -> None:
    """Write numbers of `dtype`, given by their bits, as float32."""
    if dtype == "BF16":
        wide = out.view(np.uint32)
        wide[:] = bits
        wide <<= np.uint32(16)
    else:
        np.copyto(out, bits.view(np.float16 if dtype == "F16" else np.float32))


def as_stored(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Float32 rounded to nearest even as `dtype`, as bits."""
    if dtype != "BF16":
        return values.astype(np.float16 if dtype == "F16" else np.float32).view(bits_in(np.empty(0, "u1"), dtype).dtype)
    wide = values.view(np.uint32)
    return ((wide + np.uint32(0x7FFF) + ((wide >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


class Rounder(ABC):
    """Rounds weights tile by tile in memory of its own; one for each thread."""

    def __init__(self, rounding: Rounding) -> None:
        self.rounding = rounding
        self._tile = TILE // rounding.group * rounding.group
        self._values = np.empty(self._tile, np.float32)
        self._codes = np.empty(self._tile, np.uint8)
        self._bits: dict[int, NDArray[Any]] = {2: np.empty(self._tile, np.uint16), 4: np.empty(self._tile, np.uint32)}

    def round(self, raw: NDArray[np.uint8], dtype: str, packed: NDArray[np.uint8], scales: NDArray[np.uint8]) -> None:
        """Round whole groups, given as bytes of `dtype`, into `packed` codes and `scales`, both as bytes.

        Raises `FloatingPointError` if a weight is no finite number.
        """
        given, group, bits = bits_in(raw, dtype), self.rounding.group, self.rounding.bits
        width = self.rounding.scale_byte(dtype)
        for at in range(0, len(given), self._tile):
            part = given[at : at + self._tile]
            most = self._magnitudes(part, dtype)
            as_float32(part, dtype, self._values[: len(part)])
            inverse = self._scaled(most, dtype, scales[at // group * width : (at + len(part)) // group * width])
            rows = self._values[: len(part)].reshape(-1, group)
            np.multiply(rows, inverse[:, None], out=rows)
            codes = self._coded(self._values[: len(part)], self._codes[: len(part)])
            pack(codes, bits, packed[at * bits // 8 : (at + len(part)) * bits // 8])

    def _magnitudes(self, part: NDArray[Any], dtype: str) -> NDArray[np.float32]:
        """The largest magnitude of each group."""
        # magnitudes of floats are in the order of their bits without the sign, so whole numbers are compared
        bits: NDArray[Any] = self._bits[part.itemsize][: len(part)]
        np.bitwise_and(part, part.dtype.type(_MAGNITUDE[dtype]), out=bits)
        most = _most_of(bits.reshape(-1, self.rounding.group))
        if len(most) and most.max() >= _INFINITE[dtype]:
            raise FloatingPointError("a weight is infinite or no number")
        found = np.empty(len(most), np.float32)
        as_float32(most, dtype, found)
        return found

    @abstractmethod
    def _scaled(self, most: NDArray[np.float32], dtype: str, kept: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Write the scales of groups with these largest magnitudes to `kept`, return the inverse of each.

        The weights themselves lie in `_values`.
        """

    @abstractmethod
    def _coded(self, values: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn scaled weights into codes; `values` may be changed."""


@final
class WholeRounder(Rounder):
    """Rounds to whole numbers."""

    def _scaled(self, most: NDArray[np.float32], dtype: str, kept: NDArray[np.uint8]) -> NDArray[np.float32]:
        most /= np.float32(self.rounding.offset - 0.5)
        room = bits_in(kept, dtype)
        room[:] = as_stored(most, dtype)
        as_float32(room, dtype, most)
        return np.divide(np.float32(1), most, out=np.zeros_like(most), where=most >= np.finfo(np.float32).tiny)

    def _coded(self, values: NDArray[np.float32], codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return whole_codes(values, codes, self.rounding.offset)


def whole_codes(values: NDArray[np.float32], codes: NDArray[np.uint8], offset: int) -> NDArray[np.uint8]:
    """Write the nearest whole numbers plus `offset` to `codes`; `values` are changed."""
    np.clip(values, np.float32(-offset), np.float32(offset - 1), out=values)
    values += SHIFTED + np.float32(offset)
    np.copyto(codes, values.view(np.uint32), casting="unsafe")
    return codes


def _most_of(rows: NDArray[Any]) -> NDArray[Any]:
    """The largest number of each row."""
    # the maximum of many short rows takes longer than turning them and comparing whole columns
    most: NDArray[Any] = np.ascontiguousarray(rows.T).max(axis=0) if rows.shape[1] < _LONG else rows.max(axis=1)
    return most


def restored_whole(
    codes: NDArray[np.uint8], scales: NDArray[np.uint8], dtype: str, rounding: Rounding
) -> NDArray[np.float32]:
    """The weights that codes and scales stand for."""
    kept = bits_in(scales, dtype)
    scale = np.empty(len(kept), np.float32)
    as_float32(kept, dtype, scale)
    whole = codes.astype(np.float32) - np.float32(rounding.offset)
    return (whole.reshape(-1, rounding.group) * scale[:, None]).reshape(-1)
