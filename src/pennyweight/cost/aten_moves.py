"""PyTorch's operators that only move values: norms, pooling, elementwise arithmetic, copies."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from pennyweight.core import Kind
from pennyweight.cost.sheet import Call, Sheet, Value, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.cost.widths import Lane


def channel_norm(sheet: Sheet, call: Call) -> Lane | None:
    """Batch and instance normalisation: scale, shift and running statistics per channel."""
    x = call.given["input"]
    lane = sheet.take(x, 1)
    shaped = call if lane else _wide(call, x.shape[1])
    held = [replace(value, stored=value.size) for value in call.tensors() if value.constant]
    sheet.spread(shaped, Kind.NORM, lane, stored=sheet.own(held), name=_owner(call))
    return lane


def group_norm(sheet: Sheet, call: Call) -> Lane | None:
    """Normalisation in groups of channels, whose number must keep dividing the width: it may not change."""
    sheet.freeze(call.inputs())
    channels = call.given["input"].shape[1]
    sheet.spread(_wide(call, channels), Kind.NORM, None, stored=sheet.own(call.tensors()), name=_owner(call))
    return None


def layer_norm(sheet: Sheet, call: Call) -> Lane | None:
    """Normalisation over the last axis, or several."""
    x, over = call.given["input"], call.given["normalized_shape"]
    lane = sheet.take(x, -1) if len(over) == 1 else None
    if lane is None:
        sheet.widths.freeze(x.lane)
        call = _wide(call, prod(over))
    sheet.spread(call, Kind.NORM, lane, stored=sheet.own(call.tensors()), name=_owner(call))
    return lane


def pool(sheet: Sheet, call: Call) -> Lane | None:
    """Pooling over the axes behind the channels."""
    x = call.given.get("self") or call.given["input"]
    dims = next((int(d) for d in "123" if f"{d}d" in call.op), 2)
    lane = sheet.take(x, len(x.shape) - dims - 1)
    size = call.given.get("kernel_size") or 1
    fan = prod(size) ** (dims if len(size) == 1 else 1) if isinstance(size, (list, tuple)) else size**dims
    sheet.spread(call, Kind.POOL, lane, fan=fan, intake=x.size / call.out.size)
    return lane


def reduce(sheet: Sheet, call: Call) -> Lane | None:
    """A mean, sum or extreme over some axes."""
    x = call.inputs()[0]
    dims = call.given.get("dim")
    ndim = len(x.shape)
    gone = {d % ndim for d in ([dims] if isinstance(dims, int) else dims or range(ndim))}
    lane = x.lane
    if lane is not None and lane.axis in gone:
        sheet.widths.freeze(lane)
        lane = None
    if lane is not None and not call.given.get("keepdim"):
        lane = lane.moved(lane.axis - sum(d < lane.axis for d in gone))
    sheet.spread(call, Kind.POOL, lane, intake=x.size / max(1, call.out.size))
    return lane


def softmax(sheet: Sheet, call: Call) -> Lane | None:
    """A softmax over one axis, whose entries then depend on each other."""
    sheet.freeze(call.inputs())
    x = call.inputs()[0]
    sheet.spread(_wide(call, x.shape[call.given["dim"]] if x.shape else 1), Kind.SOFTMAX, None)
    return None


def halved(sheet: Sheet, call: Call) -> Lane | None:
    """A gated unit: one half of an axis scales the other."""
    x = call.inputs()[0]
    lane = x.lane
    if lane is not None and lane.axis == call.given.get("dim", -1) % len(x.shape):
        sheet.widths.freeze(lane)
        lane = None
    sheet.spread(call, Kind.POINTWISE, lane, intake=2)
    return lane


def joined(sheet: Sheet, call: Call) -> Lane | None:
    """Concatenation or stacking: on the channel axis it mixes groups, elsewhere it ties them."""
    dim = call.given.get("dim", 0) % len(call.out.shape)
    moving = call.inputs()
    mixes = call.op == "stack" or len(moving) < len(call.tensors())
    lane = None if mixes else _tied(sheet, [value.lane for value in moving], dim)
    if lane is None:
        sheet.freeze(moving)
    sheet.spread(call, Kind.COPY, lane, stored=sheet.own(call.tensors()))
    return lane


def resampled(sheet: Sheet, call: Call) -> Lane | None:
    """Upsampling or padding of the axes behind the channels."""
    x = call.inputs()[0]
    lane = x.lane
    if lane is not None and call.out.shape[lane.axis] != x.shape[lane.axis]:
        sheet.widths.freeze(lane)
        lane = None
    sheet.spread(call, Kind.COPY, lane, intake=x.size / call.out.size)
    return lane


def copied(sheet: Sheet, call: Call) -> Lane | None:
    """Values moved to other places: channels are no longer followed."""
    sheet.freeze(call.inputs())
    sheet.spread(call, Kind.COPY, None, stored=sheet.own(call.tensors()))
    return None


def cloned(sheet: Sheet, call: Call) -> Lane | None:
    """The same values at another place in memory."""
    lane = call.inputs()[0].lane
    sheet.spread(call, Kind.COPY, lane)
    return lane


def pointwise(sheet: Sheet, call: Call) -> Lane | None:
    """Elementwise arithmetic with broadcasting: what is combined must keep equal width."""
    moving, still = call.inputs(), [value for value in call.tensors() if value.constant]
    ndim = len(call.out.shape)
    lane = None
    for value in moving:
        if value.lane is not None:
            lane = lane or value.lane.moved(value.lane.axis + ndim - len(value.shape))
    if lane is not None and not all(_follows(sheet, lane, value, ndim) for value in (*moving, *still)):
        sheet.freeze(moving)
        lane = None
    intake = sum(value.size for value in moving) / max(1, call.out.size)
    sheet.spread(
        call, Kind.POINTWISE, lane, stored=sheet.own(still), intake=int(intake) if intake == int(intake) else intake
    )
    return lane


def _owner(call: Call) -> str:
    weight = call.given.get("weight")
    return title(weight.key) if isinstance(weight, Value) and weight.stored else ""


def _wide(call: Call, width: int) -> Call:
    """The call with its output seen as rows of `width` values."""
    return replace(call, out=replace(call.out, shape=(call.out.size // width, width)))


def _tied(sheet: Sheet, lanes: Sequence[Lane | None], dim: int) -> Lane | None:
    """The one lane that all tensors joined at `dim` have, None if some have none or another."""
    first = lanes[0]
    for lane in lanes:
        if lane is None or first is None or lane.axis == dim:
            return None
        if (lane.axis, lane.width, lane.inner) != (first.axis, first.width, first.inner):
            return None
        sheet.widths.tie(first.group, lane.group)
    return first


def _follows(sheet: Sheet, lane: Lane, value: Value, ndim: int) -> bool:
    """Whether `value` goes along when `lane` changes width: broadcast over it, or made of the same channels."""
    axis = lane.axis - ndim + len(value.shape)
    if axis < 0 or value.shape[axis] == 1:
        return value.lane is None
    mine = value.lane
    if mine is None or (mine.axis, mine.width, mine.inner) != (axis, lane.width, lane.inner):
        return False
    sheet.widths.tie(lane.group, mine.group)
    return True
