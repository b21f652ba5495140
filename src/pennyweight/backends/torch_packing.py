"""Tensors in fewer bytes: a bitmap for many zeros, a table for few values, both or neither, whichever is smallest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core.stored_graph import part_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

_MOST_SHARED = 256  # values in a table, so that an index fits a byte
_GLANCE = 4096  # weights that tell most tensors of many values, without sorting all
_ENTRY_BYTE = 128  # about what a part takes in the header of the file and in the graph
_SIGN = 31  # the bit of a float32 that says minus


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors to store, and for those stored in parts their shape and the parts' names, by the tensor's name.

    Only contiguous float32 tensors are packed. Nothing is rounded: minus zero and NaN are kept with all their bits.
    """
    import torch

    stored: dict[str, Tensor] = {}
    records: dict[str, Any] = {}
    for name, tensor in tensors.items():
        parts = parts_of(tensor.numpy()) if tensor.dtype is torch.float32 else {}
        if parts:
            records[name] = {"parts": list(parts), "shape": list(tensor.shape)}
            stored |= {part_name(name, part): torch.from_numpy(array) for part, array in parts.items()}
        else:
            stored[name] = tensor
    return stored, records


def parts_of(dense: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The parts of `dense` (contiguous, any shape) that together take the fewest bytes; none if it should stay dense.

    * ``bitmap``: one bit per weight, 1 where it is not zero; ``signs``: one bit per zero, if any of them is minus zero.
    * ``values``: the float32 weights that are not zero, in order; or instead of them
    * ``table``, up to 256 float32 values, and ``indices`` into it of ``ceil(log2(values))`` bits, at least one, for
      each weight that is not zero (each weight, if there is no bitmap).

    Bits fill bytes from the highest one on, and the last byte is filled with zeros.
    """
    bits = dense.reshape(-1).view(np.uint32)
    zero = bits << 1 == 0
    choices = [_shared(bits)]
    if zero.any():
        mask = _mask(bits, zero)
        rest = bits[~zero]
        shared = _shared(rest)
        choices += [mask | {"values": rest.view(np.float32)}, mask | shared if shared else {}]
    best = min(filter(None, choices), key=_byte, default={})
    return best if best and _byte(best) < dense.nbytes else {}


def _byte(parts: dict[str, NDArray[Any]]) -> int:
    return sum(part.nbytes + _ENTRY_BYTE for part in parts.values())


def _mask(bits: NDArray[np.uint32], zero: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    signs = bits[zero] >> _SIGN
    mask = {"bitmap": np.packbits(~zero)}
    return mask | {"signs": np.packbits(signs.astype(bool))} if signs.any() else mask


def _shared(bits: NDArray[np.uint32]) -> dict[str, NDArray[Any]]:
    """Table and indices; nothing if there are too many values, or none at all."""
    if not 0 < len(np.unique(bits[:_GLANCE])) <= _MOST_SHARED:
        return {}
    table, index = np.unique(bits, return_inverse=True)
    if len(table) > _MOST_SHARED:
        return {}
    # One bit even for a single value: a small file cannot then stand for a tensor of any size.
    width = max(1, (len(table) - 1).bit_length())
    fields = np.unpackbits(index.astype(np.uint8)[:, None], axis=1)[:, 8 - width :]
    return {"table": table.view(np.float32), "indices": np.packbits(fields)}
