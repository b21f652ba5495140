"""Modules as one ONNX file: optimised, batch normalisation folded, for batches of any size, and nothing else in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.backends.torch_graph import quietly, trace
from pennyweight.errors import MissingExtraError, UntraceableError

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

OPSET = 18


def to_onnx(model: nn.Module, example: np.ndarray) -> bytes:
    """Write `model` as an ONNX model with one input "x" and one output "y", traced on `example` (2, ...).

    Raises `UntraceableError` if it cannot be traced or holds an operator that ONNX lacks.
    """
    import torch

    try:
        import onnxscript  # ruff: ignore[unused-import] - torch needs it and says so less clearly
    except ImportError:
        raise MissingExtraError.of("onnxscript", "torch") from None
    with quietly():
        program = trace(model, example)
        try:
            exported: Any = torch.onnx.export(
                program,
                input_names=["x"],
                output_names=["y"],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except Exception as error:
            raise UntraceableError(
                f"The model cannot be written as ONNX: {str(error).strip().splitlines()[0]}",
                "use operators that ONNX knows, or serve it with the torch runtime.",
            ) from error
        return bare(exported.model_proto)


def bare(proto: Any) -> bytes:
    """Drop what is not the model: names of source files and lines, and other notes of the exporter."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in proto.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    body: bytes = proto.SerializeToString(deterministic=True)
    return body
