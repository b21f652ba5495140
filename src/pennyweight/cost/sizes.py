"""Rows of another size: networks that take shorter sequences or smaller images, and their operators there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core import Kind, Task

if TYPE_CHECKING:
    from pennyweight.core import Op, Spec

_IMAGE = 3  # axes of one image: channels, height, width
_MATRICES = frozenset({Kind.CONV, Kind.LINEAR})


def takes_images_of_any_size(spec: Spec) -> bool:
    """Whether the operators are those of a network on images that pools all places into one before it looks at them.

    A pool of one place that is called without a size of its own (`fan` 1, such as a global mean) takes maps of any
    size; layers before it must be convolutions.
    """
    if len(spec.data.shape) != _IMAGE:
        return False
    before = True
    for op in spec.ops:
        if before and op.kind is Kind.POOL and op.positions == 1 and op.fan == 1 and op.intake > 1:
            before = False
        if op.kind in _MATRICES and before != (op.kind is Kind.CONV):
            return False
    return not before


def resized(spec: Spec, share: float) -> tuple[Op, ...]:
    """The operators on sequences of the share `share` of the length, or on images of that share of each side.

    Rims of convolutions and rounding of places are left out.
    """
    if spec.data.task is Task.LANGUAGE:
        length = spec.data.shape[0] if spec.data.shape else 0
        return tuple(_shorter(op, length, share) for op in spec.ops)
    return tuple(_smaller(op, share * share) for op in spec.ops)


def _shorter(op: Op, length: int, share: float) -> Op:
    """Fewer places; where every place is compared with all, each with fewer."""
    op = replace(op, positions=op.positions * share)
    if op.kind is Kind.SOFTMAX and op.n_in == length:
        return replace(op, n_in=round(length * share), n_out=round(length * share))
    if op.kind is Kind.MATMUL and op.n_out == length:
        return replace(op, n_out=round(length * share))
    if op.kind is Kind.MATMUL and op.n_in == length:
        return replace(op, n_in=round(length * share))
    return op


def _smaller(op: Op, share: float) -> Op:
    if op.positions > 1:
        return replace(op, positions=max(1.0, op.positions * share))
    return replace(op, intake=max(1.0, op.intake * share)) if op.kind is Kind.POOL else op
