"""What an ONNX file may hold before any library executes it: one whole model, and nothing outside of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.errors import CorruptError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.core import Artifact

MODEL_FILE = "model.onnx"
_FIX = "export the model again, or fetch the artifact from its source."


def admit(artifact: Artifact, name: str = MODEL_FILE, *, inputs: int | None = 1) -> bytes:
    """Return the ONNX bytes in the file `name` of an artifact.

    Raises `CorruptError` if they are no ONNX model with so many `inputs` (None: any number), or if a tensor points to
    another file: a path in a model is an instruction to read whatever the serving process can read.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError.of("onnx", "onnx") from None
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no stubs

    body = dict(artifact.files).get(name)
    if body is None:
        raise CorruptError(f"The artifact has no file {name}.", _FIX)
    try:
        model = onnx.ModelProto.FromString(body)
    except DecodeError as error:
        raise CorruptError(f"{name} cannot be read as an ONNX model.", _FIX) from error
    if inputs not in {None, len(model.graph.input)} or not model.graph.output:
        raise CorruptError(f"{name} has {len(model.graph.input)} inputs where {inputs} are expected.", _FIX)
    if any(tensor.data_location or tensor.external_data for tensor in _tensors(model)):
        raise CorruptError(f"{name} keeps weights outside of the file.", "export it with its weights inside.")
    return body


def _tensors(model: Any) -> Iterator[Any]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)
