"""Which branches of an ensemble matter least: what each split saves, in training or on held-out rows."""

# ruff: file-ignore[private-member-access] - the loss of a boosted ensemble is public nowhere

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.sklearn_trees import averaged, is_boosted, nodes_of, trees_of, visits
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.backends.sklearn_trees import Nodes


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows no tree has seen: x (N, features) float32, y (N,), and for each tree which of them are held out from it."""

    x: NDArray[np.float32]
    y: NDArray[Any]
    rows: tuple[NDArray[np.int64], ...]


def weakest_links(
    trees: Sequence[Nodes], saved: Sequence[NDArray[np.float64]], share: float
) -> list[NDArray[np.bool_]]:
    """For each tree the nodes that become leaves when `share` of all splits has gone, weakest link first.

    `saved` is what every split saves (nodes,). The weakest link is the branch whose splits save the least on average;
    cutting it weakens or strengthens the branches above it (Breiman et al. 1984, chapter 3). One order for all trees: a
    tree that matters little loses more. A branch that would take more than is left to take is passed over.
    """
    branches = list(map(_Branches, trees, saved))
    left = int(share * sum(int((~tree.is_leaf).sum()) for tree in trees))
    heap = [(*link, number) for number, tree in enumerate(branches) for link in tree.links()]
    heapq.heapify(heap)
    while left > 0 and heap:
        mean, node, number = heapq.heappop(heap)
        tree = branches[number]
        if mean != tree.mean[node] or tree.splits[node] > left or tree.gone[node]:
            continue
        left -= int(tree.splits[node])
        for link in tree.prune(node):
            heapq.heappush(heap, (*link, number))
    return [tree.ends for tree in branches]


class _Branches:
    """One tree while it is pruned: for each node, how many splits its branch has and what they save on average."""

    def __init__(self, nodes: Nodes, saved: NDArray[np.float64]) -> None:
        self.nodes = nodes
        self.parent = np.full(len(saved), -1)
        inner = np.flatnonzero(~nodes.is_leaf)
        for child in (nodes.left, nodes.right):
            self.parent[child[inner]] = inner
        self.splits = (~nodes.is_leaf).astype(np.int64)
        self.saved = np.where(nodes.is_leaf, 0.0, saved)
        for node in range(len(saved) - 1, 0, -1):
            self.splits[self.parent[node]] += self.splits[node]
            self.saved[self.parent[node]] += self.saved[node]
        self.mean = self.saved / np.maximum(self.splits, 1)
        self.ends = np.zeros(len(saved), dtype=bool)
        self.gone = nodes.is_leaf.copy()

    def links(self) -> list[tuple[float, int]]:
        """All branches, by what their splits save on average; among equals the deeper ones first."""
        return [(float(self.mean[node]), int(node)) for node in np.flatnonzero(~self.gone)[::-1]]

    def prune(self, node: int) -> list[tuple[float, int]]:
        """Make `node` a leaf; return the branches above, which are worth something else now."""
        saved, splits = self.saved[node], self.splits[node]
        self.ends[node] = True
        self._bury(node)
        changed, above = [], int(self.parent[node])
        while above >= 0:
            self.saved[above] -= saved
            self.splits[above] -= splits
            self.mean[above] = self.saved[above] / self.splits[above]
            changed.append((float(self.mean[above]), above))
            above = int(self.parent[above])
        return changed

    def _bury(self, node: int) -> None:
        below = [node]
        while below:
            at = below.pop()
            if not self.gone[at]:
                self.gone[at] = True
                below += [int(self.nodes.left[at]), int(self.nodes.right[at])]


def saved_in_training(model: Any) -> list[NDArray[np.float64]]:
    """What each split of each tree saved in the training loss."""
    return [nodes_of(tree).gain for tree in trees_of(model)]


def saved_on(held: HeldOut, model: Any) -> list[NDArray[np.float64]]:
    """What each split of each tree saves in the loss on held-out rows; below zero where it does harm.

    The loss of a node with answer v is ``H v²/2 - G v`` over the rows that come by. For trees that vote, H counts the
    rows and G sums their one-hot labels or values: half the squared error (Brier score). For boosted trees, G and H are
    the negative gradient and the curvature of the ensemble's loss where the stage begins, and v is what the stage adds.
    """
    if is_boosted(model):
        return _saved_by_stages(held, model)
    if np.ndim(held.y) != 1:
        raise BadInputError("Held-out pruning takes one answer per row.", "use cost_complexity for several outputs.")
    pull = np.eye(len(model.classes_))[held.y.astype(int)] if hasattr(model, "classes_") else held.y[:, None]
    found = []
    for tree, rows in zip(trees_of(model), held.rows, strict=True):
        nodes = nodes_of(tree)
        found.append(_saved(nodes, nodes.value, visits(tree, held.x[rows]), (pull[rows], np.ones(len(rows)))))
    return found


def _saved_by_stages(held: HeldOut, model: Any) -> list[NDArray[np.float64]]:
    loss, y = model._loss, held.y.astype(np.float64)
    width = model.n_trees_per_iteration_
    raw, rate = _first_guess(model, held.x), 1.0 if hasattr(model, "_predictors") else model.learning_rate
    trees, found = trees_of(model), []
    for at in range(0, len(trees), width):
        flat = raw[:, 0].copy() if width == 1 else np.ascontiguousarray(raw)
        slope, curve = (np.reshape(part, (len(y), -1)) for part in loss.gradient_hessian(y_true=y, raw_prediction=flat))
        for k, tree in enumerate(trees[at : at + width]):
            nodes = nodes_of(tree)
            value, leaves = averaged(nodes) * rate, visits(tree, held.x)
            found.append(_saved(nodes, value, leaves, (-slope[:, [k]], curve[:, k % curve.shape[1]])))
            raw[:, k] += value[leaves, 0]
    return found


def _first_guess(model: Any, x: NDArray[np.float32]) -> NDArray[np.float64]:
    if hasattr(model, "_predictors"):
        base = np.zeros((len(x), model.n_trees_per_iteration_)) + np.ravel(model._baseline_prediction)
    else:
        base = np.array(model._raw_predict_init(x), dtype=np.float64)
    return base


def _saved(
    nodes: Nodes,
    value: NDArray[np.float64],
    leaves: NDArray[np.int64],
    force: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Loss of each node as a leaf, minus the losses of its two children as leaves."""
    pull, curve = np.zeros_like(value), np.zeros(len(value))
    np.add.at(pull, leaves, force[0])
    np.add.at(curve, leaves, force[1])
    inner = np.flatnonzero(~nodes.is_leaf)
    for node in inner[::-1]:
        below = [nodes.left[node], nodes.right[node]]
        pull[node], curve[node] = pull[below].sum(axis=0), curve[below].sum()
    loss = curve * (value**2).sum(axis=1) / 2 - (pull * value).sum(axis=1)
    saved = np.zeros(len(value))
    saved[inner] = loss[inner] - loss[nodes.left[inner]] - loss[nodes.right[inner]]
    return saved
