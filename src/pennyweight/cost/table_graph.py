"""The operator table of an ONNX graph, quantised or not: which operator follows which law."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from pennyweight.core import Kind, Op
from pennyweight.cost import onnx_products as products
from pennyweight.cost.onnx_asked import pieces
from pennyweight.cost.onnx_nodes import Node, nodes_of
from pennyweight.cost.onnx_rows import Rows
from pennyweight.cost.onnx_trees import linear_of, trees_of
from pennyweight.cost.repeats import alike
from pennyweight.errors import UntraceableError

if TYPE_CHECKING:
    from collections.abc import Callable

_PRODUCTS = frozenset({"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "MatMulNBits", "QGemm"})
_CONVS = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv"})
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool")
_NORMS = ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
_COPIES = ("Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "Cast", "Expand", "Tile")
_MOVES = ("Pad", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "ScatterND", "ScatterElements")
_SOFTMAX = ("Softmax", "LogSoftmax", "Hardmax")
_CHOICES = ("ArgMax", "ArgMin", "TopK")
_BRANCHES = frozenset({"If", "Loop", "Scan"})
_KINDS = {
    **dict.fromkeys(_POOLS + _CHOICES, Kind.POOL),
    **dict.fromkeys((*_NORMS, "SkipLayerNormalization", "Scaler", "Normalizer"), Kind.NORM),
    **dict.fromkeys((*_COPIES, *_MOVES, "ArrayFeatureExtractor"), Kind.COPY),
    **dict.fromkeys(_SOFTMAX, Kind.SOFTMAX),
}


def table_of_graph(model: bytes) -> tuple[Op, ...]:
    """The operator table of an ONNX `model`, for a batch of one; rows equal in all but their name are one row.

    Weights count the bits of the integers or floats they are stored in, activations 8 where both sides of the product
    are quantised; scales and zero points are not counted, nor are the conversions, which runtimes fuse. What depends on
    constants alone is one. Width groups are empty: the arithmetic of a graph is fixed. Of a graph that asks another
    about what it is unsure of, the rows of the other have the `share` of examples that go up.

    Raises `CorruptError` if the bytes are no ONNX model, `UntraceableError` for branches, loops and unknown sizes.
    """
    return alike(replace(op, share=share) for share, piece in pieces(model) for op in _rows(piece))


def _rows(model: bytes) -> list[Op]:
    sheet = Rows()
    for node in nodes_of(model):
        if node.op in _BRANCHES:
            raise UntraceableError(
                f"The ONNX graph has the operator {node.op}, whose path depends on values.",
                "export the model without branches and loops.",
            )
        _law(node)(sheet, node)
    if not sheet.rows:
        raise UntraceableError("The ONNX graph computes nothing from its input.", "export the model again.")
    return sheet.rows


def _law(node: Node) -> Callable[[Rows, Node], None]:
    if node.op in _CONVS:
        return products.conv
    if node.op in _PRODUCTS:
        return products.product
    if node.op.startswith("TreeEnsemble"):
        return lambda sheet, each: sheet.rows.append(trees_of(each))
    if node.op in {"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"}:
        return lambda sheet, each: sheet.rows.append(linear_of(each))
    return {
        "Gather": products.gather,
        "Einsum": products.einsum,
        "LSTM": products.recurrent,
        "GRU": products.recurrent,
        "RNN": products.recurrent,
    }.get(node.op, _moved)


def _moved(sheet: Rows, node: Node) -> None:
    kind = _KINDS.get(node.op, Kind.POOL if node.op.startswith("Reduce") else Kind.POINTWISE)
    if kind is Kind.SOFTMAX or node.op in {"LayerNormalization", "RMSNormalization"}:
        shape = node.out.shape or (1,)
        sheet.spread(node, kind, width=shape[node.attributes.get("axis", -1)])
    elif node.op in _NORMS:
        sheet.spread(node, kind, width=(node.out.shape or (1, 1))[1])
    elif node.op in _POOLS:
        sheet.spread(node, kind, fan=prod(node.attributes.get("kernel_shape", ())))
    else:
        sheet.spread(node, kind)
