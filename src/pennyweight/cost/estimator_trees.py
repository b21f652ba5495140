"""Rows for trees of scikit-learn: single trees, forests and boosting, fitted or only described."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Kind, Op

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLASS_ROWS, _RANDOM_ROWS, _NUMBER_ROWS = 16.0, 6.0, 1.6  # per leaf of a fully grown tree: see `_expected`
_ABOVE_LEAST = 1.5  # what holds less than twice the least cannot be split: leaves hold one to two times the least
_PATH = (2 + 1 / math.log(2)) / 2
_TREE_BITS, _INPUT_BITS = 64, 32  # scikit-learn's trees hold float64 and int64 and compare float32 inputs


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of the data: features in, values out, rows to learn from."""

    n_in: int
    n_out: int
    rows: int


def tree_rows(model: Any, shape: Shape) -> tuple[Op, ...] | None:
    """The row of a tree or an ensemble of trees, None if `model` is neither."""
    grown = _grown(model)
    if grown is not None:
        return (_measured(model, shape, grown),)
    kind = type(model).__name__
    if kind in _SINGLE or kind in _ENSEMBLES:
        return (_expected(model, shape),)
    return None


_SINGLE = frozenset({"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"})
_ENSEMBLES = frozenset(
    f"{name}{task}"
    for name in ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
    for task in ("Classifier", "Regressor")
)


def _grown(model: Any) -> list[tuple[int, float, int]] | None:
    """For each fitted tree: its nodes, its mean path and the values per leaf; None if there is none."""
    if hasattr(model, "tree_"):
        return [_tree(model.tree_)]
    if hasattr(model, "_predictors"):
        stages = model._predictors  # ruff: ignore[private-member-access] - there is no other way to the nodes
        return [_binned_tree(tree.nodes) for stage in stages for tree in stage]
    members = list(np.ravel(np.asarray(getattr(model, "estimators_", ()), dtype=object)))
    if not members or not all(hasattr(each, "tree_") for each in members):
        return None
    return [_tree(each.tree_) for each in members]


def _tree(tree: Any) -> tuple[int, float, int]:
    """A row passes as many comparisons as inner nodes; each sees a known share of the training rows."""
    inner = tree.children_left >= 0
    seen = tree.n_node_samples
    return tree.node_count, float(seen[inner].sum() / seen[0]), int(np.prod(tree.value.shape[1:]))


def _binned_tree(nodes: Any) -> tuple[int, float, int]:
    inner = nodes["is_leaf"] == 0
    return len(nodes), float(nodes["count"][inner].sum() / nodes["count"][0]), 1


def _measured(model: Any, shape: Shape, trees: list[tuple[int, float, int]]) -> Op:
    nodes, paths, outs = zip(*trees, strict=True)
    return _row(model, shape.n_in, outs[0], (len(trees), _mean(nodes), _mean(paths)))


def _expected(model: Any, shape: Shape) -> Op:
    """An ensemble that is not fitted yet, from its settings and the number of training rows.

    A fully grown tree ends with one leaf for every 16 rows if it classifies (9 to 27 on digits, wine, iris, breast
    cancer; 6 if its splits are random: 4 to 8), for every 1.6 rows if it estimates numbers (as many leaves as different
    rows in a bootstrap sample); `max_depth`, `max_leaf_nodes` and `min_samples_leaf` cap that. Its mean path is halfway
    between those of a balanced tree and of a random binary search tree, log2(leaves) and 2 ln(leaves).
    """
    given = model.get_params(deep=False)
    kind = type(model).__name__
    classifies, boosts = kind.endswith("Classifier"), "Boosting" in kind
    usual = _NUMBER_ROWS if boosts or not classifies else _RANDOM_ROWS if kind.startswith("Extra") else _CLASS_ROWS
    depth = given.get("max_depth") or math.inf
    fewest = given.get("min_samples_leaf", 1)
    fewest = fewest * shape.rows if isinstance(fewest, float) else fewest
    leaves = max(
        1.0, min(shape.rows / max(usual, _ABOVE_LEAST * fewest), 2**depth, given.get("max_leaf_nodes") or math.inf)
    )
    times = given.get("max_iter") or given.get("n_estimators") or 1
    if boosts and classifies and shape.n_out > 2:
        times *= shape.n_out
    path = min(depth, _PATH * math.log(leaves))
    return _row(model, shape.n_in, 1 if boosts else shape.n_out, (times, 2 * leaves - 1, path))


def _row(model: Any, n_in: int, n_out: int, sizes: tuple[int, float, float]) -> Op:
    times, nodes, path = sizes
    name = type(model).__name__
    return Op(
        name,
        Kind.TREE,
        n_in,
        n_out,
        fan=max(1, round(nodes)),
        positions=path,
        times=times,
        weight_bits=_TREE_BITS,
        act_bits=_TREE_BITS if name.startswith("Hist") else _INPUT_BITS,
        disk_bits=_TREE_BITS,
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
