"""PyTorch's operators that multiply by a matrix: convolutions, linear and recurrent layers, products, attention."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from pennyweight.core import Kind, Op
from pennyweight.cost.aten_moves import copied
from pennyweight.cost.sheet import Call, Row, Sheet, Value, exact
from pennyweight.cost.widths import Lane


def conv(sheet: Sheet, call: Call) -> Lane | None:
    """A convolution, of any number of dimensions, grouped or transposed."""
    x, weight = call.given["input"], call.given["weight"]
    axis = len(x.shape) - len(weight.shape) + 1
    n_in, n_out, groups = x.shape[axis], call.out.shape[axis], call.given.get("groups", 1)
    before, after = exact(x.size, n_in), exact(call.out.size, n_out)
    upsamples = "transpose" in call.op or bool(call.given.get("transposed"))
    positions, intake = after, max(1.0, before / after)
    if upsamples:
        positions, intake = (after, before / after) if before <= after else (before, 1.0)
    op = Op(
        call.holding(weight),
        Kind.CONV,
        n_in,
        n_out,
        fan=prod(weight.shape[2:]),
        positions=positions,
        groups=groups,
        per_out=_biased(call),
        intake=intake,
    )
    lane = sheet.take(x, axis)
    if groups == 1:
        written = _weighted(sheet, call, op, lane, weight)
        return written.moved(axis) if written else None
    if lane is None or lane.inner > 1 or not groups == n_in == n_out:
        sheet.widths.freeze(lane)
        sheet.weigh(Row(sheet.typed(op, call.out, weight)), weight)
        return None
    sheet.weigh(Row(sheet.typed(op, call.out, weight), lane.group, lane.group), weight)
    return lane


def linear(sheet: Sheet, call: Call) -> Lane | None:
    """A linear layer; after flattened feature maps each channel brings as many inputs as the maps had positions."""
    x, weight = call.given["input"], call.given["weight"]
    if not weight.constant:
        return product(sheet, replace(call, given={"self": x, "mat2": weight}))
    n_out, n_in = weight.shape if len(weight.shape) == 2 else (1, weight.shape[0])
    op = Op(
        call.holding(weight), Kind.LINEAR, n_in, n_out, positions=exact(call.out.size, n_out), per_out=_biased(call)
    )
    return _weighted(sheet, call, op, sheet.take(x, -1), weight)


def bilinear(sheet: Sheet, call: Call) -> Lane | None:
    """A linear layer on the outer product of two inputs."""
    weight = call.given["weight"]
    sheet.freeze(call.inputs())
    n_out, n_in = weight.shape[0], weight.size // weight.shape[0]
    op = Op(
        call.holding(weight), Kind.LINEAR, n_in, n_out, positions=exact(call.out.size, n_out), per_out=_biased(call)
    )
    sheet.weigh(Row(sheet.typed(op, call.out, weight)), weight)
    return None


def product(sheet: Sheet, call: Call) -> Lane | None:
    """A matrix product, batched or not: a linear layer if one factor is a constant, else two activations."""
    a, b = [value for value in call.given.values() if isinstance(value, Value)][-2:]
    if b.constant:
        return _times_constant(sheet, call, a, b)
    sheet.freeze((a, b))
    k = a.shape[-1]
    if a.constant:
        n_out, stacked = (a.shape[-2] if len(a.shape) > 1 else 1), prod(a.shape[:-2])
        op = Op(call.holding(a), Kind.LINEAR, k * stacked, n_out * stacked, groups=stacked)
        op = replace(op, positions=exact(call.out.size, op.n_out), per_out=_biased(call))
        sheet.weigh(Row(sheet.typed(op, call.out, a)), a)
        return None
    n = b.shape[-1] if len(b.shape) > 1 else 1
    _matmul(sheet, call, call.named(), (k, n, exact(call.out.size, n), max(1, b.size // (k * n))))
    return None


def attention(sheet: Sheet, call: Call) -> Lane | None:
    """Scaled dot products: scores, softmax and mixing, over all pairs of positions, causal or not."""
    q, k, v = (call.given[name] for name in ("query", "key", "value"))
    sheet.freeze((q, k, v))
    width, length, depth = q.shape[-1], k.shape[-2], v.shape[-1]
    rows, heads = exact(q.size, width), prod(k.shape[:-2])
    _matmul(sheet, call, call.named("scores"), (width, length, rows, heads))
    soft = Op(sheet.unique(call.named("softmax")), Kind.SOFTMAX, length, length, positions=rows)
    sheet.rows.append(Row(sheet.typed(soft, call.out)))
    _matmul(sheet, call, call.named("mix"), (length, depth, rows, heads))
    return None


def embedding(sheet: Sheet, call: Call) -> Lane | None:
    """A lookup in a table."""
    table, index = call.given["weight"], call.given.get("indices") or call.given["input"]
    if not table.constant:
        return copied(sheet, call)
    op = Op(call.holding(table), Kind.EMBED, table.shape[0], table.shape[1], positions=index.size)
    sheet.weigh(Row(sheet.typed(op, call.out, table)), table)
    return None


def recurrent(sheet: Sheet, call: Call) -> Lane | None:
    """Recurrent layers and cells: each weight matrix is a linear layer at every time step; the gates are pointwise."""
    sheet.freeze(call.inputs())
    sequence = call.given["input"]
    steps = exact(sequence.size, sequence.shape[-1])
    held = [value for value in call.tensors() if value.constant and value.stored]
    matrices = [value for value in held if len(value.shape) == 2]
    biases = {value.key for value in held if len(value.shape) == 1}
    for weight in matrices:
        n_out, n_in = weight.shape
        per_out = int(weight.key.replace("weight", "bias") in biases)
        op = Op(call.holding(weight), Kind.LINEAR, n_in, n_out, positions=steps, per_out=per_out)
        sheet.weigh(Row(sheet.typed(op, call.out, weight)), weight)
    for weight in (value for value in matrices if "_hh" in value.key):
        n_out, n_in = weight.shape
        name = sheet.unique(call.named("gates"))
        op = Op(name, Kind.POINTWISE, n_in, n_in, positions=steps, intake=exact(2 * n_out, n_in))
        sheet.rows.append(Row(sheet.typed(op, call.out)))
    return None


def other(sheet: Sheet, call: Call) -> Lane | None:
    """An operator without a law here: PyTorch's own counter says whether it multiplies; what it moves is counted."""
    flops = _asked(call)
    if not flops:
        return copied(sheet, call)
    sheet.freeze(call.inputs())
    size = max(1, call.out.size)
    width = call.out.shape[-1] if call.out.shape else 1
    weight = next((value for value in call.tensors() if value.stored and len(value.shape) > 1), None)
    if weight is None:
        inner = max(1, flops // (2 * size))
        second = min((value.size for value in call.inputs()), default=1)
        _matmul(
            sheet, call, call.named(), (inner, width, flops / (2 * inner * width), max(1, second // (inner * width)))
        )
        return None
    n_out = width if weight.size % width == 0 else 1
    op = Op(call.holding(weight), Kind.LINEAR, weight.size // n_out, n_out, positions=exact(flops, 2 * weight.size))
    sheet.weigh(Row(sheet.typed(op, call.out, weight)), weight)
    return None


def _weighted(sheet: Sheet, call: Call, op: Op, lane: Lane | None, weight: Value) -> Lane | None:
    """Write the row; its output channels, last or moved by the caller to where they are, start a width group."""
    if not weight.constant:
        return other(sheet, call)
    group = sheet.widths.new(op.name)
    if lane is not None:
        op = replace(op, n_in=lane.width, fan=op.fan * lane.inner)
    sheet.weigh(Row(sheet.typed(op, call.out, weight), lane.group if lane else None, group), weight)
    return Lane(len(call.out.shape) - 1, group, op.n_out)


def _times_constant(sheet: Sheet, call: Call, a: Value, b: Value) -> Lane | None:
    stacked, k, n = prod(b.shape[:-2]), b.shape[-2] if len(b.shape) > 1 else b.shape[0], b.shape[-1]
    n = n if len(b.shape) > 1 else 1
    op = Op(call.holding(b), Kind.LINEAR, k * stacked, n * stacked, groups=stacked, per_out=_biased(call))
    op = replace(op, positions=exact(call.out.size, op.n_out))
    if stacked == 1 and len(b.shape) > 1:
        return _weighted(sheet, call, op, sheet.take(a, -1), b)
    sheet.freeze((a,))
    sheet.weigh(Row(sheet.typed(op, call.out, b)), b)
    return None


def _matmul(sheet: Sheet, call: Call, name: str, sizes: tuple[int, int, float, int]) -> None:
    n_in, n_out, positions, groups = sizes
    op = Op(sheet.unique(name), Kind.MATMUL, n_in, n_out, positions=positions, groups=groups)
    sheet.rows.append(Row(sheet.typed(op, call.out)))


def _biased(call: Call) -> int:
    bias = call.given.get("bias")
    if bias is None and call.op.startswith("add"):
        bias = call.given.get("self")
    return int(isinstance(bias, Value) and bias.stored > 0)


def _asked(call: Call) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    if call.target is None:
        return 0
    with FlopCounterMode(display=False) as counter:
        call.target(*call.raw[0], **call.raw[1])
    return int(counter.get_total_flops())
