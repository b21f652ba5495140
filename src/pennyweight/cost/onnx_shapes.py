"""The shapes of an ONNX graph for a batch of one, with the arithmetic on shapes in it evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pennyweight.errors import CorruptError, MissingExtraError, UntraceableError

_SAME_SHAPE = frozenset(
    {"QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "FastGelu", "BiasGelu", "Gelu"}
    | {"QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}
)
_SMALL = 4096  # values; what describes a shape is far smaller, what is larger is data


def shaped(model: bytes) -> Any:
    """The graph of an ONNX model with the first axis of every input set to one and the types of all values inferred.

    Raises `CorruptError` for bytes that are no model and `UntraceableError` for another axis of unknown size.
    """
    try:
        import onnx
        from onnx import inliner, shape_inference
    except ImportError:
        raise MissingExtraError.of("onnx", "onnx") from None
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:
        raise CorruptError("These bytes are not an ONNX model.", "export the model again.") from error
    if not proto.graph.node:
        raise CorruptError("This ONNX model has no operators.", "export the model again.")
    proto = inliner.inline_local_functions(proto)
    held = {each.name for each in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name not in held:
            _fix_batch(value)
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    proto = shape_inference.infer_shapes(proto, data_prop=True)
    if not _complete(proto.graph):
        _Resolver(proto).run()
    return proto.graph


def _fix_batch(value: Any) -> None:
    for place, dim in enumerate(value.type.tensor_type.shape.dim):
        if place == 0:
            dim.dim_value = 1
        elif not dim.HasField("dim_value"):
            raise UntraceableError(
                f"Axis {place} of the ONNX input {value.name!r} has no fixed size.",
                "export the model with a fixed size for every axis but the batch.",
            )


def _complete(graph: Any) -> bool:
    known = {value.name for value in (*graph.value_info, *graph.output) if _is_known(value.type)}
    return all(name in known for node in graph.node for name in node.output if name)


def _is_known(kind: Any) -> bool:
    tensor = kind.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _dims(kind: Any) -> list[int]:
    return [dim.dim_value for dim in kind.tensor_type.shape.dim]


@dataclass(slots=True)
class _Resolver:
    """A second pass, node by node, that evaluates small whole numbers so that shapes made from them are known."""

    proto: Any
    types: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        import onnx

        graph = self.proto.graph
        self.types = {value.name: value.type for value in graph.input}
        for held in graph.initializer:
            self.types[held.name] = onnx.helper.make_tensor_type_proto(held.data_type, held.dims)
            if np.prod(held.dims) <= _SMALL:
                self.data[held.name] = held
        for node in graph.node:
            self._infer(node)
            self._evaluate(node)
        del graph.value_info[:]
        for name, kind in self.types.items():
            graph.value_info.add(name=name, type=kind)

    def _infer(self, node: Any) -> None:
        import onnx

        version = next((each.version for each in self.proto.opset_import if each.domain == node.domain), 1)
        names = [name for name in node.input if name]
        if any(name not in self.types for name in names):
            return
        if not onnx.defs.has(node.op_type, domain=node.domain):
            self._guess(node)
            return
        schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=version, domain=node.domain)
        data = {name: self.data[name] for name in names if name in self.data}
        kinds = {name: self.types[name] for name in names}
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, kinds, data, opset_imports=list(self.proto.opset_import), ir_version=self.proto.ir_version
            )
        except onnx.shape_inference.InferenceError:
            return
        self.types |= found

    def _guess(self, node: Any) -> None:
        """The output of operators that are ONNX Runtime's own: like the first input, or a product with a matrix."""
        import onnx

        kind = self.types[node.input[0]]
        shape = _dims(kind)
        given = {each.name: each.i for each in node.attribute}
        if node.op_type == "MatMulNBits":
            shape[-1] = given["N"]
        elif node.op_type in {"QGemm", "FusedMatMul"}:
            weight = _dims(self.types[node.input[3 if node.op_type == "QGemm" else 1]])
            shape[-1] = weight[-2] if given.get("transB") else weight[-1]
        elif node.op_type not in _SAME_SHAPE:
            return
        self.types[node.output[0]] = onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, shape)

    def _evaluate(self, node: Any) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        out = next(iter(node.output), "")
        kind = self.types.get(out)
        if kind is None or not _is_known(kind) or not self._is_shape_arithmetic(node, kind):
            return
        if node.op_type == "Shape":
            dims = np.array(_dims(self.types[node.input[0]]), np.int64)
            given = {each.name: each.i for each in node.attribute}
            value = dims[given.get("start", 0) : given.get("end", len(dims))]
        else:
            feeds = {name: onnx.numpy_helper.to_array(self.data[name]) for name in node.input if name}
            opsets = {each.domain: each.version for each in self.proto.opset_import}
            value = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)[0]
        self.data[out] = onnx.numpy_helper.from_array(np.asarray(value), out)

    def _is_shape_arithmetic(self, node: Any, kind: Any) -> bool:
        size = np.prod(_dims(kind))
        if size > _SMALL or node.op_type == "Shape":
            return bool(size <= _SMALL and _is_known(self.types[node.input[0]]))
        return all(name in self.data for name in node.input if name)
