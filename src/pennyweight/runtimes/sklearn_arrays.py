"""Stored scikit-learn estimators back to life: only listed classes, every tree checked before it is walked."""

# ruff: file-ignore[private-member-access, import-private-name] - how trees lie in memory is public nowhere

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from pennyweight.core.fitted import (
    ARRAYS_FILE,
    BOOSTED_FIELDS,
    CLASSES,
    LOSSES,
    MODEL_FILE,
    SCHEMA,
    TREE_FIELDS,
)
from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pennyweight.core import Artifact

_NUMBERS = frozenset({"bool", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"})
_FLOATS = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}
_LEAF = -1
_MOST_FEATURES = 10_000_000


def decode(artifact: Artifact) -> Any:
    """Build the estimator that `artifact` (format "sklearn") holds; its answers equal the original's bit by bit.

    It can answer, not be trained on. Raises `CorruptError` for a file that is no such model, names a class that is not
    allowed, or holds a tree whose walk would leave it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        body = json.loads(artifact.file(MODEL_FILE))
        arrays = load(artifact.file(ARRAYS_FILE))
    except (KeyError, ValueError, RecursionError, SafetensorError) as error:
        _refuse(f"cannot be read ({type(error).__name__})", error)
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        _refuse(f"is not of schema {SCHEMA}")
    try:
        return _Reader(arrays).value(body["model"])
    except CorruptError:
        raise
    except Exception as error:  # ruff: ignore[blind-except] - a state that does not fit may fail anywhere in scikit-learn
        _refuse(f"does not fit together ({type(error).__name__}: {error})", error)


class _Reader:
    """Turns JSON nodes into values; one method per kind of node."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.kinds: dict[str, Callable[[dict[str, Any]], Any]] = {
            "array": lambda node: self.arrays[node["name"]],
            "bins": _bins,
            "boosted": self._boosted,
            "dict": lambda node: {self.value(key): self.value(each) for key, each in node["items"]},
            "estimator": self._estimator,
            "float": lambda node: _FLOATS[node["value"]],
            "list": lambda node: self._items(node["items"]),
            "loss": _loss,
            "number": self._number,
            "objects": self._objects,
            "text": lambda node: np.array([str(item) for item in node["items"]]).reshape(node["shape"]),
            "tree": self._tree,
            "tuple": lambda node: tuple(self._items(node["items"])),
        }

    def value(self, node: Any) -> Any:
        if node is None or isinstance(node, bool | int | float | str):
            return node
        return self.kinds[node["$"]](node)

    def _number(self, node: dict[str, Any]) -> Any:
        if node["dtype"] not in _NUMBERS:
            _refuse(f"holds a number of type {node['dtype']!r}")
        return np.dtype(node["dtype"]).type(self.value(node["value"]))

    def _items(self, nodes: list[Any]) -> list[Any]:
        whole = [
            {**nodes[0], "state": {**nodes[0]["state"], **node["state"]}} if _is_like(node) else node for node in nodes
        ]
        return [self.value(node) for node in whole]

    def _objects(self, node: dict[str, Any]) -> np.ndarray:
        items = self._items(node["items"])
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(node["shape"])

    def _estimator(self, node: dict[str, Any]) -> Any:
        name = node["class"]
        if name not in CLASSES:
            _refuse(f"names the class {name!r}, which is not allowed")
        kind = getattr(import_module(CLASSES[name]), name)
        estimator = kind.__new__(kind)
        state = {key: self.value(each) for key, each in node["state"].items()}
        if "random_state" in kind._get_param_names():
            state["random_state"] = None
        vars(estimator).update(state)
        _check(estimator)
        return estimator

    def _columns(self, pool: str, fields: dict[str, str], node: dict[str, Any]) -> dict[str, np.ndarray]:
        first, count = int(node["first"]), int(node["count"])
        columns = {name: self.arrays[f"{pool}.{name}"][first : first + count] for name in fields}
        if first < 0 or any(
            column.shape != (count,) or column.dtype != fields[name] for name, column in columns.items()
        ):
            _refuse("has a tree with too few nodes")
        return columns

    def _tree(self, node: dict[str, Any]) -> Any:
        from sklearn.tree._tree import NODE_DTYPE, Tree

        columns = self._columns("tree", TREE_FIELDS, node)
        leaf = columns["left_child"] == _LEAF
        _check_walk(columns["left_child"], columns["right_child"], columns["feature"], leaf, int(node["features"]))
        classes = np.array(node["classes"], dtype=np.intp)
        width = len(classes) * int(classes.max())
        first = int(node["leaves"])
        held = self.arrays[f"leaf{width}.value"][first : first + int(leaf.sum())]
        values = np.zeros((len(leaf), len(classes), int(classes.max())))
        values[leaf] = held.reshape(int(leaf.sum()), *values.shape[1:])
        nodes = np.zeros(len(leaf), dtype=NODE_DTYPE)
        for name, column in columns.items():
            nodes[name] = column
        tree = Tree(int(node["features"]), classes, len(classes))
        tree.__setstate__({"max_depth": int(node["depth"]), "node_count": len(leaf), "nodes": nodes, "values": values})
        return tree

    def _boosted(self, node: dict[str, Any]) -> Any:
        from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
        from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

        columns = self._columns("boosted", BOOSTED_FIELDS, node)
        leaf = columns["is_leaf"] != 0
        most = int(columns["feature_idx"].max(initial=0)) + 1
        _check_walk(columns["left"], columns["right"], columns["feature_idx"], leaf, most)
        nodes = np.zeros(len(leaf), dtype=PREDICTOR_RECORD_DTYPE)
        for name, column in columns.items():
            nodes[name] = column
        none = np.zeros((0, 8), dtype=np.uint32)
        return TreePredictor(nodes, none, none)


def _is_like(node: Any) -> bool:
    return isinstance(node, dict) and node.get("$") == "like"


def _check_walk(left: np.ndarray, right: np.ndarray, feature: np.ndarray, leaf: np.ndarray, features: int) -> None:
    """Refuse a tree that is empty, whose children do not lie behind their parents, or that reads a missing feature.

    scikit-learn walks trees without looking where it steps, so this must hold before it does.
    """
    here, split = np.arange(len(leaf)), ~leaf
    forward = (left > here) & (left < len(leaf)) & (right > here) & (right < len(leaf))
    known = (feature >= 0) & (feature < features)
    if not len(leaf) or not np.all((forward & known)[split]):
        _refuse("has a tree whose walk would leave it")


def _check(estimator: Any) -> None:
    """Refuse trees that read more features than their estimator asks for, or write more sums than it makes room for."""
    state = vars(estimator)
    features = state.get("n_features_in_")
    if "tree_" in state and state["tree_"].n_features != features:
        _refuse("has a tree over other features than its estimator")
    if "_predictors" in state:
        trees = [tree for stage in state["_predictors"] for tree in stage]
        if any(tree.nodes["feature_idx"].max(initial=0) >= features for tree in trees):
            _refuse("has a tree over other features than its estimator")
    if "estimators_" not in state:
        return
    trees = list(np.ravel(np.array(state["estimators_"], dtype=object)))
    if any(tree.n_features_in_ != features for tree in trees):
        _refuse("has a tree over other features than its estimator")
    if "n_trees_per_iteration_" in state:
        _check_stages(estimator, trees)


def _check_stages(estimator: Any, trees: list[Any]) -> None:
    width = estimator.estimators_.shape[1]
    sums = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    if sums.shape != (1, width) or any(tree.tree_.value.shape[1:] != (1, 1) for tree in trees):
        _refuse("has stages of another width than its answer")


def _loss(node: dict[str, Any]) -> Any:
    if node["class"] not in LOSSES:
        _refuse(f"names the loss {node['class']!r}, which is not allowed")
    kind = getattr(import_module("sklearn._loss.loss"), node["class"])
    return kind() if node["classes"] is None else kind(n_classes=int(node["classes"]))


def _bins(node: dict[str, Any]) -> Any:
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

    features = int(node["features"])
    if not 0 < features <= _MOST_FEATURES:
        _refuse(f"bins {features} features")
    bins = _BinMapper()
    bins.is_categorical_ = np.zeros(features, dtype=np.uint8)
    bins.bin_thresholds_ = []
    return bins


def _refuse(why: str, error: Exception | None = None) -> NoReturn:
    raise CorruptError(f"The stored scikit-learn model {why}.", "export it again from its job.") from error
