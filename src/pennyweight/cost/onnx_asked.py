"""A graph that asks another about what it is unsure of, taken apart: what all rows pass, and what only some reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pennyweight.core.asked_next import ANY, GIVEN, INDEX, NEXT, PUT, ROWS, SHARE, SURE, TOP, UNSURE
from pennyweight.errors import CorruptError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIX = "make the cascade again, or fetch it from its source."
# Whole numbers, and copies of the few rows that go up.
_BETWEEN = (SURE, UNSURE, ROWS, ANY, INDEX, GIVEN, PUT)


def pieces(model: bytes, share: float = 1.0) -> Iterator[tuple[float, bytes]]:
    """Yield each piece of an ONNX `model` with the share of examples that reach it: the whole, if it has no pieces.

    Raises `CorruptError` for bytes that are no model, or that note a share which is none.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError.of("onnx", "onnx") from None
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:
        raise CorruptError("These bytes are not an ONNX model.", "export the model again.") from error
    branch = next((node for node in proto.graph.node if _noted(node)), None)
    if branch is None:
        yield share, model
        return
    before, after = proto.graph, _then(branch)
    prefix = branch.name.removesuffix(NEXT)
    between = tuple(prefix + name for name in _BETWEEN)
    yield share, _piece(proto, before, [node for node in _working(before, between) if node != branch], f"{prefix}{TOP}")
    put = next((node for node in after.node if f"{prefix}{PUT}" in node.output), None)
    given = next((value for value in after.value_info if value.name == f"{prefix}{GIVEN}"), None)
    if put is None or given is None or len(put.input) < 3:
        raise CorruptError("The model notes that some rows go up, but not where they go.", _FIX)
    piece = _piece(proto, after, _working(after, between), put.input[2], given)
    yield from pieces(piece, share * _share(branch))


def _working(graph: Any, between: tuple[str, ...]) -> list[Any]:
    return [node for node in graph.node if not any(out.startswith(between) for out in node.output)]


def _piece(proto: Any, graph: Any, nodes: list[Any], answer: str, given: Any = None) -> bytes:
    """The `nodes` as a model of its own that reads `given` (or what the graph reads) and answers with `answer`."""
    from onnx import TensorProto, helper

    out = helper.make_tensor_value_info(answer, TensorProto.FLOAT, None)
    read = list(graph.input) if given is None else [given]
    made = helper.make_graph(nodes, graph.name, read, [out], list(graph.initializer))
    sets = list(proto.opset_import)
    body: bytes = helper.make_model(made, opset_imports=sets, ir_version=proto.ir_version).SerializeToString()
    return body


def _noted(node: Any) -> bool:
    return any(each.key == SHARE for each in node.metadata_props)


def _share(node: Any) -> float:
    text = next(each.value for each in node.metadata_props if each.key == SHARE)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise CorruptError(f"The model notes that a share {text[:20]!r} goes up.", _FIX)
    return share


def _then(node: Any) -> Any:
    branch = next((each.g for each in node.attribute if each.name == "then_branch"), None)
    if branch is None:
        raise CorruptError("The model notes that some rows go up, but has no branch for them.", _FIX)
    return branch
