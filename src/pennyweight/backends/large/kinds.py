"""Every kind of number that weights are rounded to, by the name it is asked for, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.backends.large.hqq import SearchedRounder
from pennyweight.backends.large.microscaling import GROUP, MicroRounder, restored_micro
from pennyweight.backends.large.packing import unpack
from pennyweight.backends.large.rounding import Rounder, Rounding, WholeRounder, restored_whole
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KINDS = {"int3": (3, "int"), "int4": (4, "int"), "int8": (8, "int"), "mxfp4": (4, "mx")}
_USUAL_GROUP = 128
_WORD_GROUP = 32  # a group fills whole words of 32 bits, and kernels know no others


def rounding_for(name: str, group: int | None) -> Rounding:
    """How to round to numbers of that name, `group` (None: the usual) weights at a time.

    Raises `UnknownNameError` for another name and `BadInputError` for groups that do not go with it.
    """
    if name not in KINDS:
        raise UnknownNameError.of("kind of numbers", name, KINDS)
    bits, kind = KINDS[name]
    if kind == "mx":
        if group not in {None, GROUP}:
            raise BadInputError(f"Groups of {name} have {GROUP} weights, not {group}.", "leave --group out.")
        return Rounding(bits, GROUP, kind)
    if group is not None and (group < _WORD_GROUP or group % _WORD_GROUP):
        raise BadInputError(f"Groups of {group} do not fill whole words.", "give a multiple of 32, such as 128.")
    return Rounding(bits, group or _USUAL_GROUP, kind)


def rounder_of(rounding: Rounding, method: str = "rtn") -> Rounder:
    """What rounds that way: to nearest (rtn), or by scales that are searched (hqq)."""
    if rounding.kind == "mx":
        return MicroRounder(rounding)
    return SearchedRounder(rounding) if method == "hqq" else WholeRounder(rounding)


def restored(
    packed: NDArray[np.uint8], scales: NDArray[np.uint8], dtype: str, rounding: Rounding
) -> NDArray[np.float32]:
    """The weights (N) that whole groups of codes and their scales stand for, before these are rounded to `dtype`."""
    codes = unpack(packed, rounding.bits)
    return restored_micro(codes, scales) if rounding.kind == "mx" else restored_whole(codes, scales, dtype, rounding)
