"""Tree surgery on fitted estimators: look into trees, cut branches, choose trees; the original is never touched."""

# ruff: file-ignore[private-member-access] - how trees lie in memory is public nowhere

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.sklearn_onnx_trees import has_trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LEAF = -1
_UNDEFINED = -2


@dataclass(frozen=True, slots=True)
class Nodes:
    """One tree as columns over its nodes, parents before children.

    `left` and `right` are the children (-1 at leaves), `rows` the weight of the training rows that came by, `value`
    (nodes, outputs) what the node answers, or would answer as a leaf, and `gain` what its split saved in the training
    loss (0 at leaves).
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    rows: NDArray[np.float64]
    value: NDArray[np.float64]
    gain: NDArray[np.float64]

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Which nodes are leaves."""
        return self.left < 0


def last_step(model: Any) -> Any:
    """The estimator that answers: the last step of a pipeline, or the model itself."""
    return model[-1] if hasattr(model, "steps") else model


def before_last(model: Any, x: NDArray[Any]) -> NDArray[Any]:
    """What the last step of `model` sees of `x` (N, features), as float32."""
    seen = model[:-1].transform(x) if hasattr(model, "steps") and len(model.steps) > 1 else x
    return np.ascontiguousarray(seen, dtype=np.float32)


def with_last(model: Any, last: Any) -> Any:
    """The model with another last step."""
    if not hasattr(model, "steps"):
        return last
    changed = copy.copy(model)
    changed.steps = [*model.steps[:-1], (model.steps[-1][0], last)]
    return changed


def is_boosted(model: Any) -> bool:
    """Whether trees add up stage by stage, so that only the last ones can go."""
    return hasattr(model, "n_trees_per_iteration_")


def trees_of(model: Any) -> list[Any]:
    """All trees of a fitted tree, forest or boosted ensemble, stage by stage; empty for any other estimator."""
    if not has_trees(model):
        return []
    if hasattr(model, "tree_"):
        return [model.tree_]
    if hasattr(model, "_predictors"):
        return [tree for stage in model._predictors for tree in stage]
    return [each.tree_ for each in np.ravel(model.estimators_)]


def with_trees(model: Any, trees: Sequence[Any]) -> Any:
    """The model with as many other trees in the places of its own."""
    changed = copy.copy(model)
    if hasattr(model, "tree_"):
        changed.tree_ = trees[0]
    elif hasattr(model, "_predictors"):
        width = model.n_trees_per_iteration_
        changed._predictors = [list(trees[at : at + width]) for at in range(0, len(trees), width)]
    else:
        homes = [copy.copy(each) for each in np.ravel(model.estimators_)]
        for home, tree in zip(homes, trees, strict=True):
            home.tree_ = tree
        changed.estimators_ = np.array(homes, dtype=object).reshape(np.shape(model.estimators_))
        if isinstance(model.estimators_, list):
            changed.estimators_ = homes
    return changed


def with_members(model: Any, kept: Sequence[int]) -> Any:
    """The ensemble of only the trees (boosting: the stages) at the places `kept`, in that order."""
    changed = copy.copy(model)
    if hasattr(model, "_predictors"):
        changed._predictors = [model._predictors[at] for at in kept]
        changed.max_iter = len(kept)
        return changed
    changed.estimators_ = [model.estimators_[at] for at in kept]
    if isinstance(model.estimators_, np.ndarray):
        changed.estimators_ = model.estimators_[list(kept)]
        changed.n_estimators_ = len(kept)
    changed.n_estimators = len(kept)
    return changed


def nodes_of(tree: Any) -> Nodes:
    """Look into a `Tree` or a tree of histogram boosting."""
    if hasattr(tree, "nodes"):
        return _histogram_nodes(tree.nodes)
    left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
    rows = tree.weighted_n_node_samples.astype(np.float64)
    loss = tree.impurity * rows / rows[0]
    inner = left >= 0
    gain = np.zeros(len(left))
    gain[inner] = loss[inner] - loss[left[inner]] - loss[right[inner]]
    value = np.ascontiguousarray(tree.value, dtype=np.float64).reshape(len(left), -1)
    return Nodes(left, right, rows, value, gain)


def averaged(nodes: Nodes) -> NDArray[np.float64]:
    """What each node would answer as a leaf: the mean of the leaves below it, weighted by their training rows.

    Inner nodes of boosted trees hold the value before the loss's own step was taken, so they cannot be asked.
    """
    rows = np.where(nodes.is_leaf, nodes.rows, 0.0)
    total = nodes.value * rows[:, None]
    for node in np.flatnonzero(~nodes.is_leaf)[::-1]:
        below = [nodes.left[node], nodes.right[node]]
        rows[node], total[node] = rows[below].sum(), total[below].sum(axis=0)
    return total / np.maximum(rows, np.finfo(np.float64).tiny)[:, None]


def visits(tree: Any, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """The leaf, as its node's number, that each row of `x` (N, features) ends in."""
    if not hasattr(tree, "nodes"):
        found: NDArray[np.int64] = tree.apply(x).astype(np.int64)
        return found
    # A copy whose leaves answer with their own number.
    named = copy.copy(tree)
    named.nodes = tree.nodes.copy()
    named.nodes["value"] = np.arange(len(named.nodes))
    none, nowhere = np.zeros((0, 8), dtype=np.uint32), np.zeros(x.shape[1], dtype=np.uint32)
    numbers: NDArray[np.float64] = named.predict(x.astype(np.float64), none, nowhere, 1)
    return numbers.astype(np.int64)


def cut(tree: Any, ends: NDArray[np.bool_], value: NDArray[np.float64]) -> Any:
    """The tree in which the nodes in `ends` are leaves that answer `value` (nodes, outputs), with nothing below."""
    nodes = nodes_of(tree)
    leaf = nodes.is_leaf | ends
    kept, depth = _reached(nodes, leaf)
    place = np.cumsum(kept) - 1
    if hasattr(tree, "nodes"):
        return _cut_histogram(tree, kept, leaf, (place, value))
    state = tree.__getstate__()
    table, values = state["nodes"][kept].copy(), state["values"][kept].copy()
    new = (ends & ~nodes.is_leaf)[kept]
    values[new] = value[kept][new].reshape(-1, *values.shape[1:])
    inner = ~leaf[kept]
    for side, child in (("left_child", nodes.left), ("right_child", nodes.right)):
        table[side] = np.where(inner, place[child[kept]], _LEAF)
    table["feature"] = np.where(inner, table["feature"], _UNDEFINED)
    table["threshold"] = np.where(inner, table["threshold"], _UNDEFINED)
    changed = type(tree)(tree.n_features, np.asarray(tree.n_classes), tree.n_outputs)
    changed.__setstate__(
        {
            "max_depth": int(depth[kept].max()),
            "node_count": int(kept.sum()),
            "nodes": table,
            "values": np.ascontiguousarray(values),
        }
    )
    return changed


def _cut_histogram(
    tree: Any, kept: NDArray[np.bool_], leaf: NDArray[np.bool_], new: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> Any:
    place, value = new
    table = tree.nodes[kept].copy()
    ends = leaf[kept] & (table["is_leaf"] == 0)
    inner = ~leaf[kept]
    table["value"] = np.where(ends, value[kept, 0], table["value"])
    for side in ("left", "right"):
        table[side] = np.where(inner, place[table[side]], 0)
    table["is_leaf"] = ~inner
    return type(tree)(table, tree.binned_left_cat_bitsets, tree.raw_left_cat_bitsets)


def _histogram_nodes(table: NDArray[Any]) -> Nodes:
    leaf = table["is_leaf"] != 0
    left = np.where(leaf, _LEAF, table["left"].astype(np.int64))
    right = np.where(leaf, _LEAF, table["right"].astype(np.int64))
    gain = np.where(leaf, 0.0, np.maximum(table["gain"], 0.0))
    return Nodes(left, right, table["count"].astype(np.float64), table["value"][:, None].astype(np.float64), gain)


def _reached(nodes: Nodes, leaf: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which nodes can still be come by from the root, and how deep they lie."""
    kept, depth = np.zeros(len(leaf), dtype=bool), np.zeros(len(leaf), dtype=np.int64)
    kept[0] = True
    for node in np.flatnonzero(~leaf):
        if kept[node]:
            below = [nodes.left[node], nodes.right[node]]
            kept[below], depth[below] = True, depth[node] + 1
    return kept, depth
