"""The operators of an ONNX graph that multiply: convolutions, matrix products, look-ups, recurrent layers."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from pennyweight.core import Kind, Op
from pennyweight.cost.sheet import exact, title
from pennyweight.errors import UntraceableError

if TYPE_CHECKING:
    from pennyweight.cost.onnx_nodes import Node, Tensor
    from pennyweight.cost.onnx_rows import Rows


def conv(sheet: Rows, node: Node) -> None:
    """A convolution or its transpose."""
    places = (0, 3, 8) if node.op == "QLinearConv" else (0, 1, -1 if node.op == "ConvInteger" else 2)
    x, weight, bias = node.given(places[0]), node.given(places[1]), node.given(places[2]) if places[2] > 0 else None
    x_shape, shape, out = _sure(x, node), _sure(weight, node), _sure(node.out, node)
    before, after = exact(prod(x_shape), x_shape[1]), exact(prod(out), out[1])
    positions, intake = after, max(1.0, before / after)
    if node.op == "ConvTranspose":
        positions, intake = (after, before / after) if before <= after else (before, 1.0)
    op = Op(
        _named(node, weight),
        Kind.CONV,
        x_shape[1],
        out[1],
        fan=prod(shape[2:]),
        positions=positions,
        groups=node.attributes.get("group", 1),
        per_out=_biased(sheet, bias),
        intake=intake,
    )
    _weigh(sheet, op, x, weight)


def product(sheet: Rows, node: Node) -> None:
    """A product of matrices: a linear layer where one of them is stored."""
    a, b = node.given(0), node.given(3 if node.op in {"QLinearMatMul", "QGemm"} else 1)
    if node.op == "MatMulNBits":
        _packed(sheet, node, b)
        return
    a_shape, b_shape, out = _sure(a, node), _sure(b, node), _sure(node.out, node)
    turned = bool(node.attributes.get("transB"))
    k, n = (b_shape[-1], b_shape[-2]) if turned else (b_shape[-2] if len(b_shape) > 1 else b_shape[0], b_shape[-1])
    n = n if len(b_shape) > 1 else 1
    if b is not None and b.constant:
        bias = node.given(2) if node.op == "Gemm" else node.given(6) if node.op == "QGemm" else None
        stacked = prod(b_shape[:-2])
        op = Op(_named(node, b), Kind.LINEAR, k * stacked, n * stacked, groups=stacked, per_out=_biased(sheet, bias))
        _weigh(sheet, replace(op, positions=exact(prod(out), op.n_out)), a, b)
    elif a is not None and a.constant:
        rows, stacked = a_shape[-2] if len(a_shape) > 1 else 1, prod(a_shape[:-2])
        op = Op(_named(node, a), Kind.LINEAR, k * stacked, rows * stacked, groups=stacked)
        _weigh(sheet, replace(op, positions=exact(prod(out), op.n_out)), b, a)
    else:
        groups = max(1, prod(b_shape) // (k * n))
        op = Op(node.name, Kind.MATMUL, k, n, positions=exact(prod(out), n), groups=groups)
        sheet.rows.append(replace(op, act_bits=_act_bits(node.moving())))


def _packed(sheet: Rows, node: Node, weight: Tensor | None) -> None:
    """A weight matrix of few bits, packed in blocks."""
    bits, n_in, n_out = (int(node.attributes[name]) for name in ("bits", "K", "N"))
    positions = prod(_sure(node.given(0), node)[:-1])
    op = Op(_named(node, weight), Kind.LINEAR, n_in, n_out, positions=positions, weight_bits=bits, disk_bits=bits)
    sheet.rows.append(op)


def gather(sheet: Rows, node: Node) -> None:
    """A look-up in a stored table, or a mere choice of rows."""
    table, index = node.given(0), node.given(1)
    shape = _sure(table, node)
    if table is None or index is None or not table.constant or len(shape) != 2 or node.attributes.get("axis", 0):
        sheet.spread(node, Kind.COPY)
    elif table.key in sheet.held:
        sheet.spread(node, Kind.COPY, width=shape[1])
    else:
        op = Op(_named(node, table), Kind.EMBED, shape[0], shape[1], positions=index.size)
        sheet.weigh(replace(op, weight_bits=table.bits, disk_bits=table.bits, act_bits=node.out.bits), table)


def einsum(sheet: Rows, node: Node) -> None:
    """A product of two named factors."""
    equation = node.attributes["equation"].decode().replace(" ", "")
    terms, _, result = equation.partition("->")
    letters = terms.split(",")
    if len(letters) != 2 or "." in equation:
        raise UntraceableError(f"The product {equation!r} is not one of two named factors.", "export it as MatMul.")
    sizes = {
        letter: size
        for term, tensor in zip(letters, node.inputs, strict=True)
        for letter, size in zip(term, _sure(tensor, node), strict=True)
    }
    out = _sure(node.out, node)
    inner = prod(size for letter, size in sizes.items() if letter not in result)
    n_out = out[-1] if out else 1
    weight = next((tensor for tensor in node.held() if tensor.stored), None)
    if weight is None:
        second = min(tensor.size for tensor in node.moving())
        op = Op(node.name, Kind.MATMUL, inner, n_out, positions=exact(prod(out), n_out))
        sheet.rows.append(replace(op, groups=max(1, second // (inner * n_out)), act_bits=_act_bits(node.moving())))
        return
    n_out = n_out if weight.size % n_out == 0 else 1
    op = Op(_named(node, weight), Kind.LINEAR, weight.size // n_out, n_out, positions=prod(out) * inner / weight.size)
    _weigh(sheet, op, node.moving()[0], weight)


def recurrent(sheet: Rows, node: Node) -> None:
    """A recurrent layer: two linear layers per step, and its gates."""
    x, bias = node.given(0), node.given(3)
    steps = exact(prod(_sure(x, node)), _sure(x, node)[-1])
    for place in (1, 2):
        weight = node.given(place)
        directions, n_out, n_in = _sure(weight, node)
        op = Op(_named(node, weight), Kind.LINEAR, n_in, n_out, positions=steps, times=directions)
        _weigh(sheet, replace(op, per_out=int(bias is not None and bias.stored > 0)), x, weight)
    directions, gates, hidden = _sure(node.given(2), node)
    op = Op(f"{node.name}.gates", Kind.POINTWISE, hidden, hidden, positions=steps, times=directions)
    sheet.rows.append(replace(op, intake=exact(2 * gates, hidden), act_bits=node.out.bits))


def _weigh(sheet: Rows, op: Op, x: Tensor | None, weight: Tensor | None) -> None:
    moving = [tensor for tensor in (x, weight) if tensor is not None and not tensor.constant]
    held = weight if weight is not None and weight.constant else None
    if held is None:
        inner = op.n_in * op.fan // op.groups
        sheet.rows.append(replace(op, kind=Kind.MATMUL, n_in=inner, fan=1, groups=1, intake=1, per_out=0))
        return
    sheet.weigh(replace(op, weight_bits=held.bits, disk_bits=held.bits, act_bits=_act_bits(moving)), held)


def _act_bits(moving: list[Tensor]) -> float:
    return max((tensor.bits for tensor in moving), default=32)


def _biased(sheet: Rows, bias: Tensor | None) -> int:
    return int(bias is not None and bias.constant and sheet.own((bias,)) > 0)


def _named(node: Node, weight: Tensor | None) -> str:
    """The weight's name where it is a path, else the node's."""
    name = weight.key.removesuffix("_quantized") if weight is not None else ""
    return title(name) if "." in name else node.name


def _sure(tensor: Tensor | None, node: Node) -> tuple[int, ...]:
    if tensor is None or tensor.shape is None:
        raise UntraceableError(
            f"The sizes around the operator {node.op} ({node.name}) of the ONNX graph are not known.",
            "export the model with fixed sizes, without operators of other domains.",
        )
    return tensor.shape
