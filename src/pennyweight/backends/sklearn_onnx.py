"""Fitted estimators as ONNX graphs from "x" (batch, features) to "y"; trees decide exactly as in scikit-learn."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from pennyweight.backends.sklearn_onnx_linear import is_linear, linear_part
from pennyweight.backends.sklearn_onnx_part import OPSET, TREE_OPSET, Part, assemble, flat, renamed, then
from pennyweight.backends.sklearn_onnx_trees import has_trees, tree_part
from pennyweight.errors import BadInputError, MissingExtraError


def to_onnx(model: Any, features: int, *, holes: bool = False) -> bytes:
    """Write a fitted estimator over float32 `features`: "y" are probabilities (N, C), values (N,) or (N, T).

    Trees, linear models and chosen columns are written here, every other step of a pipeline is converted by skl2onnx.
    With `holes`, NaN in x takes the branch it took in training. What a pipeline does to x before a tree sees it is
    computed in float32, where scikit-learn uses float64, so a value next to a threshold may fall on its other side.
    Raises `BadInputError` for what cannot be written, `MissingExtraError` without onnx or skl2onnx.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError.of("onnx", "onnx") from None
    from sklearn.pipeline import Pipeline

    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    part = reduce(then, [_part(step, features, holes=holes) for step in steps if step != "passthrough"])
    graph = assemble(renamed(part, {part.output: "y"}), features)
    onnx.checker.check_model(graph)
    body: bytes = graph.SerializeToString()
    return body


def _part(step: Any, features: int, *, holes: bool) -> Part:
    if has_trees(step):
        return tree_part(step, holes=holes)
    if is_linear(step):
        return linear_part(step)
    if hasattr(step, "get_support"):
        return _columns(np.flatnonzero(step.get_support()))
    return _converted(step, getattr(step, "n_features_in_", features))


def _columns(kept: np.ndarray) -> Part:
    from onnx import helper, numpy_helper

    node = helper.make_node("Gather", ["x", "kept"], ["columns"], axis=1)
    return Part([node], [numpy_helper.from_array(kept.astype(np.int64), "kept")], "columns", len(kept))


def _converted(model: Any, features: int) -> Part:
    """What skl2onnx makes of it, labels left out."""
    from sklearn.base import is_classifier, is_regressor

    graph = _skl2onnx(model, features, classifies=is_classifier(model)).graph
    output = graph.output[-1]
    nodes = _reached(list(graph.node), output.name)
    read = {name for node in nodes for name in node.input}
    constants = [each for each in graph.initializer if each.name in read]
    sizes = [axis.dim_value for axis in output.type.tensor_type.shape.dim[1:]]
    part = Part(nodes, constants, output.name, sizes[0] if sizes else 0)
    return flat(part) if is_regressor(model) and part.width == 1 else part


def _skl2onnx(model: Any, features: int, *, classifies: bool) -> Any:
    try:
        from skl2onnx import convert_sklearn
    except ImportError:
        raise MissingExtraError.of("skl2onnx", "onnx") from None
    from skl2onnx.common.data_types import FloatTensorType

    try:
        return convert_sklearn(
            model,
            initial_types=[("x", FloatTensorType([None, features]))],
            options={id(model): {"zipmap": False}} if classifies else None,
            target_opset={"": OPSET, "ai.onnx.ml": TREE_OPSET},
        )
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{type(model).__name__} cannot be written as ONNX: {str(error).strip().splitlines()[0]}",
            "serve it with the sklearn runtime, or build it from trees, linear models and scalers.",
        ) from error


def _reached(nodes: list[Any], output: str) -> list[Any]:
    """The nodes that `output` needs: without those that turn scores into labels."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
