"""ONNX operators of classical learning: ensembles of trees and linear models, whose weights are attributes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pennyweight.core import Kind, Op

if TYPE_CHECKING:
    from pennyweight.cost.onnx_nodes import Node


def trees_of(node: Node) -> Op:
    """An ensemble as one row: `times` trees of the mean number of nodes, walked to a leaf of mean depth.

    The mean depth is that of the leaves: the file does not say which are visited more. On forests grown on real data
    that is within a tenth of the mean path of a row.
    """
    given = node.attributes
    if node.op == "TreeEnsemble":
        return _flat_trees(node)
    trees: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    columns = (given[f"nodes_{name}"] for name in ("treeids", "nodeids", "modes", "truenodeids", "falsenodeids"))
    for tree, number, mode, yes, no in zip(*columns, strict=True):
        trees[tree][number] = (-1, -1) if mode == b"LEAF" else (yes, no)
    leaves = sum(left < 0 for nodes in trees.values() for left, _ in nodes.values())
    role = "class" if "class_weights" in given else "target"
    weights = given.get(f"{role}_weights", given.get(f"{role}_weights_as_tensor", ()))
    depth = sum(_depth(nodes) for nodes in trees.values()) / len(trees)
    op = Op(node.name, Kind.TREE, _features(node, given["nodes_featureids"]), max(1, round(len(weights) / leaves)))
    return _sized(replace(op, times=len(trees), positions=depth), sum(map(len, trees.values())))


def linear_of(node: Node) -> Op:
    """A linear model (or a kernel machine: one product per support vector) as a linear layer."""
    given = node.attributes
    weights = given.get("coefficients", ())
    if node.op.startswith("SVM"):
        vectors = len(given.get("support_vectors", ())) or len(weights)
        n_in = _features(node, ())
        return Op(node.name, Kind.LINEAR, n_in, max(1, vectors // n_in), per_out=1)
    n_out = len(given.get("intercepts", ())) or int(given.get("targets", 1)) or 1
    return Op(node.name, Kind.LINEAR, len(weights) // n_out, n_out, per_out=int(bool(given.get("intercepts"))))


def _flat_trees(node: Node) -> Op:
    """The newer operator, which lists inner nodes and leaves apart."""
    given = node.attributes
    inner = {
        number: tuple(
            -1 - target if is_leaf else target
            for target, is_leaf in (
                (given["nodes_truenodeids"][number], given["nodes_trueleafs"][number]),
                (given["nodes_falsenodeids"][number], given["nodes_falseleafs"][number]),
            )
        )
        for number in range(len(given["nodes_featureids"]))
    }
    roots = list(given["tree_roots"])
    depth = sum(_depth(inner, root) for root in roots) / len(roots)
    leaves = len(given["leaf_targetids"])
    op = Op(node.name, Kind.TREE, _features(node, given["nodes_featureids"]), int(given.get("n_targets", 1)))
    return _sized(replace(op, times=len(roots), positions=depth), len(inner) + leaves)


def _sized(op: Op, nodes: int) -> Op:
    return replace(op, fan=max(1, round(nodes / op.times)), weight_bits=32, disk_bits=32)


def _depth(nodes: dict[int, Any], root: int = 0) -> float:
    """The mean depth of the leaves; what is no inner node is a leaf."""
    depths, front = [], [(root, 0)]
    while front:
        number, depth = front.pop()
        children = [] if number < 0 else [child for child in nodes.get(number, ()) if child != number]
        if children and children != [-1, -1]:
            front += [(child, depth + 1) for child in children]
        else:
            depths.append(depth)
    return sum(depths) / len(depths)


def _features(node: Node, used: Any) -> int:
    source = node.given(0)
    shape = source.shape if source is not None else None
    return shape[-1] if shape else max(used, default=0) + 1
