"""Compressors by name: "int4", "topk:0.01+int8", "powersgd:2+bf16"; each call makes a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.train.distributed.compressors import Cast, Drawn, Grid, Largest, Zipped
from pennyweight.train.distributed.exchange import Exchange, LowRank, Packed, Plain, Short

if TYPE_CHECKING:
    from pennyweight.train.distributed.codec import Codec

CASTS = {"fp16": "float16", "bf16": "bfloat16"}
GRIDS = {"int8": 8, "int4": 4, "int2": 2, "onebit": 1}
PICKS = ("topk", "randomk")
NAMES = (*CASTS, *GRIDS, *PICKS, "powersgd", "zip")


def exchange(name: str) -> Exchange:
    """The exchange that `name` describes, its parts joined by "+", each of which may be left out.

    First which numbers are sent ("topk:SHARE", "randomk:SHARE", "powersgd:RANK"), then how each is written ("fp16",
    "bf16", "int8", "int4", "int2", "onebit"), then "zip". Raises `BadInputError` for anything else.
    """
    parts = [part.strip() for part in name.split("+")] if name else []
    first = parts[0].partition(":")[0] if parts else ""
    if first == "powersgd":
        rank = round(_number(parts[0], most=1e6))
        return LowRank(rank, (_simple(parts[1:], name), _simple(parts[1:], name), _simple(parts[1:], name)))
    return _simple(parts, name)


def _simple(parts: list[str], name: str) -> Exchange:
    """The exchange of plain vectors."""
    if not parts:
        return Plain()
    if len(parts) == 1 and parts[0] in CASTS:
        return Short(CASTS[parts[0]])
    return Packed(_codec(parts, name))


def _codec(parts: list[str], name: str) -> Codec:
    """The codec of the parts, the outermost at the end."""
    import torch

    if parts[-1] == "zip" and len(parts) > 1:
        return Zipped(_codec(parts[:-1], name))
    first, _, _ = parts[0].partition(":")
    if first in PICKS and len(parts) <= 2:
        values = _codec(parts[1:] or ["bf16"], name)
        share = _number(parts[0], most=1.0)
        return Largest(share, values) if first == "topk" else Drawn(share, values, torch.Generator().manual_seed(0))
    if len(parts) == 1 and first in CASTS:
        return Cast(CASTS[first])
    if len(parts) == 1 and first in GRIDS:
        return Grid(GRIDS[first])
    if first not in NAMES:
        raise UnknownNameError.of("gradient compressor", parts[0], NAMES)
    raise BadInputError(
        f"The compressors {name!r} cannot be joined in this order.",
        "say which numbers (topk, randomk or powersgd), then how they are written (such as int8), then zip.",
    )


def _number(part: str, *, most: float) -> float:
    """The number after the colon."""
    name, _, text = part.partition(":")
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        example = "2" if most > 1 else "0.01"
        raise BadInputError(f"The compressor {part!r} needs a number.", f"write {name}:{example}, for example.")
    return number
