"""Trees, forests and boosted trees as one ONNX node that decides exactly as scikit-learn does."""

# ruff: file-ignore[private-member-access, import-private-name] - first guesses and boosted trees are public nowhere

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.sklearn_arrays import round_down
from pennyweight.backends.sklearn_onnx_part import Part, flat
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_LINK = frozenset({"HalfPoissonLoss", "HalfGammaLoss"})


def has_trees(model: Any) -> bool:
    """Whether this is a fitted decision tree, forest or boosted ensemble of one output."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.ensemble._forest import ForestClassifier, ForestRegressor
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.tree import BaseDecisionTree

    boosted = (GradientBoostingClassifier, GradientBoostingRegressor, BaseHistGradientBoosting)
    return isinstance(model, (BaseDecisionTree, ForestClassifier, ForestRegressor, *boosted))


@dataclass(frozen=True, slots=True)
class _Flat:
    """One tree as columns over its nodes; `weight` (nodes, targets of this tree), `target` the first of them."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing: np.ndarray
    leaf: np.ndarray
    weight: np.ndarray
    target: int


@dataclass(frozen=True, slots=True)
class _Ensemble:
    """Trees, how their leaves become one answer of `width` numbers, and what is done to that answer."""

    trees: list[_Flat]
    width: int
    base: list[float] | None = None
    aggregate: str = "SUM"
    post: str = "NONE"
    exp: bool = False


def tree_part(model: Any, *, holes: bool) -> Part:
    """One TreeEnsembleRegressor: probabilities (N, C), values (N,) or (N, T).

    Thresholds are rounded down to float32, which decides alike for every float32 input; with `holes`, NaN takes the
    branch it took in training (a flag that costs some percent of speed). Raises `BadInputError` for splits on
    categories, classifiers of several outputs, and boosting on top of another model.
    """
    from onnx import helper

    ensemble = _flatten(model)
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["sums"],
        domain="ai.onnx.ml",
        n_targets=ensemble.width,
        aggregate_function=ensemble.aggregate,
        post_transform=ensemble.post,
        **_attributes(ensemble.trees, holes=holes),
        **({} if ensemble.base is None else {"base_values": ensemble.base}),
    )
    nodes = [trees, helper.make_node("Exp", ["sums"], ["linked"])] if ensemble.exp else [trees]
    part = Part(nodes, [], "linked" if ensemble.exp else "sums", ensemble.width)
    return flat(part) if ensemble.width == 1 else part


def _flatten(model: Any) -> _Ensemble:
    from sklearn.base import is_classifier

    if hasattr(model, "_predictors"):
        return _boosted_histograms(model)
    if hasattr(model, "n_trees_per_iteration_"):
        return _boosted(model)
    if getattr(model, "n_outputs_", 1) != 1 and is_classifier(model):
        raise BadInputError("A classifier of several outputs cannot be written.", "train one model for each output.")
    trees = [model] if hasattr(model, "tree_") else list(model.estimators_)
    grown = [_of_tree(each.tree_, 0, 1.0) for each in trees]
    return _Ensemble(grown, grown[0].weight.shape[1], aggregate="AVERAGE" if len(grown) > 1 else "SUM")


def _boosted(model: Any) -> _Ensemble:
    """Gradient boosting: sums of scaled leaves from the initial guess on, then the loss's link."""
    if type(model.init_).__name__ not in {"DummyClassifier", "DummyRegressor", "str"}:
        raise BadInputError("Boosting on top of another model cannot be written as ONNX.", "leave init at its default.")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    stages = [(k, tree.tree_) for stage in model.estimators_ for k, tree in enumerate(stage)]
    # The exponential loss models half the log-odds.
    scale = 2.0 if type(model._loss).__name__ == "ExponentialLoss" else 1.0
    classes = int(getattr(model, "n_classes_", 1))
    shift = 1 if classes == 2 else 0
    grown = [_of_tree(tree, k + shift, model.learning_rate * scale) for k, tree in stages]
    return _linked(grown, base * scale, classes, exp=False)


def _boosted_histograms(model: Any) -> _Ensemble:
    base = np.ravel(model._baseline_prediction)
    classes = len(model.classes_) if hasattr(model, "classes_") else 1
    shift = 1 if classes == 2 else 0
    grown = [_of_histogram(tree.nodes, k + shift) for stage in model._predictors for k, tree in enumerate(stage)]
    return _linked(grown, base, classes, exp=type(model._loss).__name__ in _LOG_LINK)


def _linked(grown: list[_Flat], base: np.ndarray, classes: int, *, exp: bool) -> _Ensemble:
    """Two classes are a softmax over (0, sum), which is the logistic function of the sum."""
    if classes == 1:
        return _Ensemble(grown, 1, base.tolist(), exp=exp)
    whole = [0.0, *base.tolist()] if classes == 2 else base.tolist()
    return _Ensemble(grown, classes, whole, post="SOFTMAX")


def _of_tree(tree: Any, target: int, scale: float) -> _Flat:
    leaf = tree.children_left < 0
    outputs = tree.value[:, 0, :] if tree.n_outputs == 1 else tree.value[:, :, 0]
    return _Flat(
        np.where(leaf, 0, tree.children_left),
        np.where(leaf, 0, tree.children_right),
        np.where(leaf, 0, tree.feature),
        np.where(leaf, np.float32(0), round_down(tree.threshold)),
        np.where(leaf, 0, tree.missing_go_to_left),
        leaf,
        outputs * scale,
        target,
    )


def _of_histogram(nodes: np.ndarray, target: int) -> _Flat:
    if nodes["is_categorical"].any():
        raise BadInputError(
            "Splits on categories cannot be written as ONNX.", "encode the categories as numbers before the model."
        )
    leaf = nodes["is_leaf"] != 0
    return _Flat(
        np.where(leaf, 0, nodes["left"]),
        np.where(leaf, 0, nodes["right"]),
        np.where(leaf, 0, nodes["feature_idx"]),
        np.where(leaf, np.float32(0), round_down(nodes["num_threshold"])),
        np.where(leaf, 0, nodes["missing_go_to_left"]),
        leaf,
        nodes["value"][:, None],
        target,
    )


def _attributes(trees: Sequence[_Flat], *, holes: bool) -> dict[str, list[Any]]:
    """The node and leaf columns of all trees end to end; leaf values of zero are left out, as they add nothing."""
    sizes = [len(tree.leaf) for tree in trees]
    columns: dict[str, np.ndarray] = {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]),
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]),
        "nodes_values": np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        "nodes_truenodeids": np.concatenate([tree.left for tree in trees]),
        "nodes_falsenodeids": np.concatenate([tree.right for tree in trees]),
    }
    if holes:
        columns["nodes_missing_value_tracks_true"] = np.concatenate([tree.missing for tree in trees])
    modes = np.where(np.concatenate([tree.leaf for tree in trees]), "LEAF", "BRANCH_LEQ")
    return {**_whole(columns), "nodes_modes": modes.tolist(), **_whole(_leaves(trees))}


def _leaves(trees: Sequence[_Flat]) -> dict[str, np.ndarray]:
    found = []
    for number, tree in enumerate(trees):
        node, output = np.nonzero((tree.weight != 0) & tree.leaf[:, None])
        if len(node) == 0:
            node, output = np.flatnonzero(tree.leaf)[:1], np.zeros(1, dtype=int)
        found.append((np.full(len(node), number), node, output + tree.target, tree.weight[node, output]))
    ids, nodes, targets, weights = (np.concatenate(column) for column in zip(*found, strict=True))
    return {
        "target_treeids": ids,
        "target_nodeids": nodes,
        "target_ids": targets,
        "target_weights": weights.astype(np.float32),
    }


def _whole(columns: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    return {
        name: (column if column.dtype.kind == "f" else column.astype(np.int64)).tolist()
        for name, column in columns.items()
    }
