"""The head of a safetensors file: which tensors it holds, of what type and shape, and where; every claim is checked.

The format: 8 bytes, the length of the head (little-endian); the head, a JSON object; then the tensors without a gap.
"""

from __future__ import annotations

import json
import math
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
}
LENGTH_BYTE = 8
_MOST_HEAD_BYTE = 100_000_000  # the limit of the safetensors library itself
_AGAIN = "download or copy that file again."


@final
@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor: its bytes are those of `file` from `start` on, `byte` of them, row by row, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    byte: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def tensors_in(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the order of their bytes.

    Raises `CorruptError` if it is cut short, has bytes that belong to no tensor, or a head that contradicts itself.
    """
    facts = file.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise CorruptError(f"{file} is no plain file.", "put the real file there.")
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH_BYTE), "little")
        whole = facts.st_size - LENGTH_BYTE
        if whole < 0 or not 0 < length <= min(whole, _MOST_HEAD_BYTE):
            raise CorruptError(f"{file} is no safetensors file, or it is cut short within its head.", _AGAIN)
        head = opened.read(length)
    found = [_tensor(name, said, file, LENGTH_BYTE + length) for name, said in _claims(head, file).items()]
    found.sort(key=lambda tensor: (tensor.start, tensor.byte))
    _check_gapless(found, file, LENGTH_BYTE + length, facts.st_size)
    return {tensor.name: tensor for tensor in found}


def _claims(head: bytes, file: Path) -> dict[str, Any]:
    try:
        claims = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"The head of {file} is not JSON.", _AGAIN) from error
    if not isinstance(claims, dict):
        raise CorruptError(f"The head of {file} is no object.", _AGAIN)
    claims.pop("__metadata__", None)
    return claims


def _tensor(name: str, said: Any, file: Path, base: int) -> Tensor:
    wrong = CorruptError(f"The head of {file} says nothing sensible about the tensor {name!r}.", _AGAIN)
    try:
        dtype, shape, (begin, end) = said["dtype"], tuple(said["shape"]), said["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise wrong from error
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise wrong
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise CorruptError(
            f"The tensor {name!r} of {file} is of the type {dtype!r}, which is not known.",
            f"store it as one of {', '.join(SIZES)}.",
        )
    if math.prod(shape) * SIZES[dtype] != end - begin:
        raise wrong
    return Tensor(name, dtype, shape, file, base + begin, end - begin)


def _check_gapless(found: list[Tensor], file: Path, at: int, size: int) -> None:
    for tensor in found:
        if tensor.start != at:
            raise CorruptError(f"The tensors of {file} overlap or leave gaps, at {tensor.name!r}.", _AGAIN)
        at += tensor.byte
    if at > size:
        raise CorruptError(f"{file} is cut short: it holds {size:,} bytes of {at:,}.", _AGAIN)
    if at < size:
        raise CorruptError(f"{file} has {size - at:,} bytes that belong to no tensor.", _AGAIN)
