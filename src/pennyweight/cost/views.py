"""How channels are seen through views, which cost nothing unless memory must be rearranged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.cost.widths import Lane, permuted, reshaped

if TYPE_CHECKING:
    from pennyweight.cost.sheet import Call, Value

_PERMUTES = frozenset({"permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "swapdims", "mT", "numpy_T"})
_CUTS = frozenset({"select", "slice", "narrow", "split", "split_with_sizes", "chunk", "tensor_split", "unbind"})
_CASTS = frozenset({"to", "type_as"})


def seen_through(lane: Lane, call: Call, x: Value) -> Lane | None:
    """Where the channels of `x` are after the view, None if they can no longer be told apart."""
    after = call.out.shape
    if call.op in _PERMUTES:
        return permuted(lane, _order(call, len(x.shape)))
    if call.op in _CUTS:
        return _cut(call, lane, x)
    if call.op.startswith("expand"):
        return lane.moved(lane.axis + len(after) - len(x.shape))
    return reshaped(lane, x.shape, after) if call.out.size == x.size else None


def must_copy(call: Call, x: Value) -> bool:
    """Whether this view really has to copy: another type, or an order of memory that cannot be described by strides."""
    if call.op in _CASTS:
        return bool(x.fake.dtype != call.out.fake.dtype)
    if call.op == "contiguous":
        return not x.fake.is_contiguous()
    if call.op == "reshape":
        try:
            x.fake.view(call.out.shape)
        except (RuntimeError, ValueError):
            return True
    return False


def _order(call: Call, ndim: int) -> tuple[int, ...]:
    given, order = call.given, list(range(ndim))
    if call.op == "permute":
        return tuple(given["dims"])
    if call.op in {"movedim", "moveaxis"}:
        source, target = ([d] if isinstance(d, int) else list(d) for d in (given["source"], given["destination"]))
        moved = {t % ndim: s % ndim for s, t in zip(source, target, strict=True)}
        rest = iter(d for d in order if d not in moved.values())
        return tuple(moved[d] if d in moved else next(rest) for d in order)
    if call.op == "numpy_T":
        return tuple(reversed(order))
    pair = [value for name, value in given.items() if name in {"dim0", "dim1", "axis0", "axis1"}] or [-2, -1]
    if ndim > 1:
        one, other = (d % ndim for d in pair)
        order[one], order[other] = order[other], order[one]
    return tuple(order)


def _cut(call: Call, lane: Lane, x: Value) -> Lane | None:
    dim = call.given.get("dim", 0) % len(x.shape)
    if dim == lane.axis:
        return lane if call.out.shape == x.shape else None
    gone = call.op in {"select", "unbind"} and dim < lane.axis
    return lane.moved(lane.axis - 1) if gone else lane
