"""The nodes of an ONNX graph in order, each with the shapes, types and constancy of what it reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from pennyweight.cost.onnx_shapes import shaped

if TYPE_CHECKING:
    from collections.abc import Iterator

_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_INDEX_BITS = 64  # whole numbers of this width describe shapes and places, not weights
_WRAPPERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named value: `bits` each, `stored` of them in the file, `whole` if it holds (or was just) quantised integers.

    `root` is the stored constant that it is a view of, if it is one.
    """

    name: str
    shape: tuple[int, ...] | None
    bits: float = 32
    constant: bool = False
    stored: int = 0
    whole: bool = False
    root: str = ""

    @property
    def key(self) -> str:
        """What its stored values are called."""
        return self.root or self.name

    @property
    def size(self) -> int:
        """The number of values; 1 if the shape is unknown."""
        return prod(self.shape or ())


@dataclass(frozen=True, slots=True)
class Node:
    """One operator with its attributes; inputs that are left out are None."""

    op: str
    name: str
    attributes: dict[str, Any]
    inputs: list[Tensor | None]
    outputs: list[Tensor]

    @property
    def out(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def given(self, place: int) -> Tensor | None:
        """The input at `place`, None if it was left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def moving(self) -> list[Tensor]:
        """The inputs that depend on the input of the graph."""
        return [tensor for tensor in self.inputs if tensor is not None and not tensor.constant]

    def held(self) -> list[Tensor]:
        """The inputs that are constants."""
        return [tensor for tensor in self.inputs if tensor is not None and tensor.constant]


def nodes_of(model: bytes) -> Iterator[Node]:
    """Read an ONNX model for a batch of one; yield the nodes that compute, views and quantisation already followed.

    Raises `CorruptError` for bytes that are no model and `UntraceableError` for a graph with an axis of unknown size
    other than the batch.
    """
    graph = shaped(model)
    tensors = _known(graph)
    for number, node in enumerate(graph.node):
        inputs = [tensors.get(name) or Tensor(name, None) if name else None for name in node.input]
        outputs = [_typed(tensors, name, inputs) for name in node.output if name]
        found = Node(node.op_type, node.name or f"{node.op_type}_{number}", _attributes(node), inputs, outputs)
        passed = _passed(found)
        if passed is None:
            yield found
        for out in passed or outputs:
            tensors[out.name] = out


def _known(graph: Any) -> dict[str, Tensor]:
    tensors = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        known = kind.HasField("shape") and min(dims, default=0) >= 0
        tensors[value.name] = Tensor(value.name, tuple(dims) if known else None, _bits(kind.elem_type))
    for held in graph.initializer:
        bits, shape = _bits(held.data_type), tuple(held.dims)
        stored = 0 if bits == _INDEX_BITS and not _is_float(held.data_type) else prod(shape)
        tensors[held.name] = Tensor(held.name, shape, bits, constant=True, stored=stored)
    return tensors


def _typed(tensors: dict[str, Tensor], name: str, inputs: list[Tensor | None]) -> Tensor:
    """The output as inferred; where nothing could be, of the type of the first input."""
    first = next((tensor for tensor in inputs if tensor is not None and not tensor.constant), None)
    return tensors.get(name) or Tensor(name, None, first.bits if first else 32)


def _passed(node: Node) -> list[Tensor] | None:
    """The outputs of a node that costs nothing: a constant, a view, another number format; None if it computes."""
    source = node.given(0)
    if node.op in {"Constant", "ConstantOfShape", "Shape", "Size"}:
        is_data = node.op == "Constant" and node.out.bits != _INDEX_BITS
        return [replace(out, constant=True, stored=out.size if is_data else 0) for out in node.outputs]
    if source is not None and node.op in _WRAPPERS:
        whole = node.op == "DequantizeLinear"
        bits = source.bits if whole else _quantised_bits(node)
        root = source.key if source.constant else ""
        first = replace(node.out, bits=bits, whole=True, constant=source.constant, stored=source.stored, root=root)
        return [first, *(replace(out, constant=True) for out in node.outputs[1:])]
    if not node.moving():
        return [_folded(node, out) for out in node.outputs]
    if source is not None and node.op in _VIEWS:
        return [replace(node.out, bits=source.bits, whole=source.whole), *node.outputs[1:]]
    return None


def _folded(node: Node, out: Tensor) -> Tensor:
    """What is made of constants is one; with the values of a single one, however arranged, it is that one."""
    held = [tensor for tensor in node.held() if tensor.stored]
    stored = sum(tensor.stored for tensor in held)
    root = held[0].key if len(held) == 1 and held[0].size == out.size else ""
    bits = held[0].bits if held else 32
    return replace(out, constant=True, stored=min(stored, out.size), bits=bits, root=root)


def _quantised_bits(node: Node) -> float:
    zero = node.given(2)
    return zero.bits if zero is not None else 8


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _bits(kind: int) -> float:
    from onnx import TensorProto

    name = TensorProto.DataType.Name(kind) if kind else "FLOAT"
    digits = "".join(c for c in name.partition("E")[0] if c.isdigit()) if name != "BFLOAT16" else "16"
    return float(digits or {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8}.get(name, 32))


def _is_float(kind: int) -> bool:
    from onnx import TensorProto

    return kind in {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
