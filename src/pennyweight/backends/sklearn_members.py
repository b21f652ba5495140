"""Which trees of a forest to keep: one by one, always the one that helps those chosen before it most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.sklearn_trees import trees_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.backends.sklearn_branches import HeldOut

_MOST_ROWS = 2000


def best_members(model: Any, held: HeldOut, count: int) -> list[int]:
    """The places of `count` trees of a fitted forest, in the order chosen.

    Greedy forward selection by the squared error of the chosen trees' mean (for classes: of their probabilities, the
    Brier score), on rows each tree has not seen; where none of the chosen ones may vote, the mean answer of all rows
    stands in. Uses at most 2,000 rows, evenly spread.
    """
    spread = np.unique(np.linspace(0, len(held.x) - 1, min(len(held.x), _MOST_ROWS)).astype(int))
    target = _target(model, held.y)[spread]
    votes, may = _votes(model, held, spread)
    chosen: list[int] = []
    total, voters = np.zeros_like(target), np.zeros(len(spread))
    for _ in range(count):
        errors = _errors(total + votes, voters + may, target)
        errors[chosen] = np.inf
        best = int(np.argmin(errors))
        chosen.append(best)
        total, voters = total + votes[best], voters + may[best]
    return chosen


def _errors(
    total: NDArray[np.float64], voters: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared error (trees,) of sums (trees, rows, outputs) over so many voters (trees, rows)."""
    mean = np.where(voters[..., None] > 0, total / np.maximum(voters, 1)[..., None], target.mean(axis=0))
    errors: NDArray[np.float64] = ((mean - target) ** 2).sum(axis=(1, 2))
    return errors


def _target(model: Any, y: NDArray[Any]) -> NDArray[np.float64]:
    if hasattr(model, "classes_"):
        one_hot: NDArray[np.float64] = np.eye(len(model.classes_))[y.astype(int)]
        return one_hot
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _votes(model: Any, held: HeldOut, spread: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each tree says of each row (trees, rows, outputs), zero where it may not vote, and where it may."""
    trees = trees_of(model)
    may = np.zeros((len(trees), len(held.x)))
    for number, rows in enumerate(held.rows):
        may[number, rows] = 1.0
    may = may[:, spread]
    x = held.x[spread]
    said: NDArray[np.float64] = np.stack([tree.predict(x).reshape(len(spread), -1) for tree in trees])
    return said * may[..., None], may
