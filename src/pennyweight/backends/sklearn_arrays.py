"""Fitted scikit-learn estimators as files: their state as JSON, their numbers as safetensors; no code and no pickle."""

from __future__ import annotations

import json
import math
from typing import Any

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
from pennyweight.errors import BadInputError

_NOT_TO_ANSWER = frozenset(
    {
        "_feature_subsample_rng",
        "_random_seed",
        "_rng",
        "_sample_weight",
        "_scorer",
        "alphas_",
        "cv_results_",
        "dual_gap_",
        "feature_names_in_",
        "loss_function_",
        "_loss_function_",
        "mse_path_",
        "oob_decision_function_",
        "oob_improvement_",
        "oob_prediction_",
        "oob_scores_",
        "random_state",
        "singular_",
        "train_score_",
        "validation_score_",
    }
)
"""What training leaves behind and no prediction reads."""


def encode(model: Any) -> tuple[tuple[str, bytes], ...]:
    """Write a fitted estimator as two files; it answers bit by bit alike once read back, but cannot be trained on.

    Raises `BadInputError` for what is not in the list of `core.fitted`, and for categorical splits.
    """
    from safetensors.numpy import save

    writer = _Writer()
    body = {"schema": SCHEMA, "model": writer.node(model)}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return (MODEL_FILE, text), (ARRAYS_FILE, save(writer.finished()))


def round_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 not above each float64 `threshold`: x <= it for the same float32 x, and for no others."""
    nearest = threshold.astype(np.float32)
    return np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)


class _Writer:
    """Turns values into JSON nodes; arrays are named, equal ones once, and the nodes of all trees lie end to end."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.pools: dict[str, list[np.ndarray]] = {}
        self.filled: dict[str, int] = {}

    def finished(self) -> dict[str, np.ndarray]:
        pooled = {name: np.concatenate(parts) for name, parts in self.pools.items()}
        return {name: np.ascontiguousarray(array) for name, array in {**self.arrays, **pooled}.items()}

    def node(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
        if isinstance(value, np.generic):
            return {"$": "number", "dtype": value.dtype.name, "value": self.node(value.item())}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, list | tuple):
            return self._sequence(value)
        if isinstance(value, dict):
            return {"$": "dict", "items": [[self.node(key), self.node(each)] for key, each in value.items()]}
        return self._thing(value)

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        if array.dtype.kind in "biuf":
            key = (array.dtype.str, array.shape, array.tobytes())
            name = self.known.setdefault(key, f"a{len(self.known)}")
            self.arrays[name] = array
            return {"$": "array", "name": name}
        if array.dtype.kind == "U":
            return {"$": "text", "items": array.ravel().tolist(), "shape": list(array.shape)}
        if array.dtype.kind == "O":
            return {"$": "objects", "items": self._items(list(array.ravel())), "shape": list(array.shape)}
        raise _unknown(f"an array of {array.dtype}")

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
        return {"$": type(value).__name__, "items": self._items(list(value))}

    def _items(self, values: list[Any]) -> list[Any]:
        """Encode each value; of an estimator like the first one, only what differs from it."""
        nodes = [self.node(value) for value in values]
        if not _alike(nodes):
            return nodes
        first = nodes[0]["state"]
        rest = [
            {"$": "like", "state": {name: part for name, part in node["state"].items() if first[name] != part}}
            for node in nodes[1:]
        ]
        return [nodes[0], *rest]

    def _thing(self, value: Any) -> dict[str, Any]:
        name = type(value).__name__
        home = type(value).__module__
        if not home.startswith("sklearn."):
            raise _unknown(f"{home}.{name}")
        if name in CLASSES:
            state = {key: self.node(each) for key, each in vars(value).items() if key not in _NOT_TO_ANSWER}
            return {"$": "estimator", "class": name, "state": state}
        if name in LOSSES:
            return {"$": "loss", "class": name, "classes": value.n_classes if name == "HalfMultinomialLoss" else None}
        if name == "Tree":
            return self._tree(value)
        if name == "TreePredictor":
            return self._boosted(value)
        if name == "_BinMapper":
            return self._bins(value)
        raise _unknown(name)

    def _tree(self, tree: Any) -> dict[str, Any]:
        nodes, leaf = tree.__getstate__()["nodes"], tree.children_left < 0
        columns = {name: nodes[name].astype(dtype) for name, dtype in TREE_FIELDS.items() if name != "threshold"}
        columns["threshold"] = np.where(leaf, np.float32(-2), round_down(tree.threshold))
        width = tree.n_outputs * tree.max_n_classes
        first = self._pool("tree", columns, len(nodes))
        leaves = self._pool(f"leaf{width}", {"value": tree.value[leaf].reshape(-1, width)}, int(leaf.sum()))
        return {
            "$": "tree",
            "first": first,
            "count": len(nodes),
            "leaves": leaves,
            "depth": int(tree.max_depth),
            "features": int(tree.n_features),
            "classes": np.asarray(tree.n_classes).tolist(),
        }

    def _boosted(self, tree: Any) -> dict[str, Any]:
        if tree.nodes["is_categorical"].any():
            raise _unknown("a split on categories")
        columns = {name: tree.nodes[name].astype(dtype) for name, dtype in BOOSTED_FIELDS.items()}
        return {"$": "boosted", "first": self._pool("boosted", columns, len(tree.nodes)), "count": len(tree.nodes)}

    @staticmethod
    def _bins(bins: Any) -> dict[str, Any]:
        if np.any(bins.is_categorical_):
            raise _unknown("a split on categories")
        return {"$": "bins", "features": int(bins.is_categorical_.size)}

    def _pool(self, pool: str, columns: dict[str, np.ndarray], count: int) -> int:
        """Append columns to a pool and return where they begin."""
        for name, column in columns.items():
            self.pools.setdefault(f"{pool}.{name}", []).append(column)
        first = self.filled.get(pool, 0)
        self.filled[pool] = first + count
        return first


def _alike(nodes: list[Any]) -> bool:
    """Whether these are several estimators of one class with the same attributes."""
    return (
        len(nodes) > 1
        and all(isinstance(node, dict) and node.get("$") == "estimator" for node in nodes)
        and all(
            node["class"] == nodes[0]["class"] and node["state"].keys() == nodes[0]["state"].keys() for node in nodes
        )
    )


def _unknown(what: str) -> BadInputError:
    return BadInputError(
        f"The sklearn format cannot hold {what}: it stores scikit-learn's trees, boosting, linear models, scalers and "
        "pipelines of them.",
        "serve the model as ONNX (a runtime such as onnxruntime), or build it from those.",
    )
