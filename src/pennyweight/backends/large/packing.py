"""Codes of 3, 4 or 8 bits without a gap: code number i begins at bit i x bits of a little-endian row of bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EIGHT = np.arange(8, dtype=np.uint32)  # eight codes of three bits fill three bytes


def pack(codes: NDArray[np.uint8], bits: int, room: NDArray[np.uint8]) -> None:
    """Write `codes` (N, one in each byte, N a multiple of 8) to `room` (N x bits / 8 bytes); `codes` may change."""
    if bits == 8:
        room[:] = codes
    elif bits == 4:
        pairs = codes.view("<u2")
        pairs |= pairs >> np.uint16(4)
        np.copyto(room, pairs, casting="unsafe")
    else:
        _pack_threes(codes, room)


def _pack_threes(codes: NDArray[np.uint8], room: NDArray[np.uint8]) -> None:
    eights = codes.reshape(-1, 8)
    whole = eights[:, 0].astype("<u4")
    for place in range(1, 8):
        whole |= eights[:, place].astype("<u4") << np.uint32(3 * place)
    room.reshape(-1, 3)[:] = whole.view(np.uint8).reshape(-1, 4)[:, :3]


def unpack(packed: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """The codes in packed bytes, one in each byte."""
    if bits == 8:
        return packed
    if bits == 4:
        codes = np.empty(2 * len(packed), np.uint8)
        codes[0::2], codes[1::2] = packed & 15, packed >> 4
        return codes
    threes = packed.reshape(-1, 3).astype(np.uint32)
    whole = threes[:, 0] | threes[:, 1] << np.uint32(8) | threes[:, 2] << np.uint32(16)
    codes = np.empty((len(whole), 8), np.uint8)
    np.copyto(codes, (whole[:, None] >> (3 * _EIGHT)) & np.uint32(7), casting="unsafe")
    return codes.reshape(-1)
