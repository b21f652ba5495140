"""A small gradient boosting, kept as a few kilobytes of JSON, that predicts with NumPy alone.

Fitted by scikit-learn (histogram gradient boosting: Friedman 2001, Ke et al. 2017) on what a formula left unexplained,
log(measured / predicted); kept as splits and leaves; its predictions are scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.crossing import Crossing
from pennyweight.cost.learn.trees import BITS, Tree
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown: how many, of at most so many leaves (2 to 8), at which rate, with so many rows in a leaf.

    `ridge` is the L2 penalty on leaf values; `loss` "squared_error" or "absolute_error"; `monotonic` says per feature
    whether the answer may only rise (1), only fall (-1) or do either (0); `features` is the share of the features that
    each split may choose from.
    """

    trees: int = 64
    leaves: int = 4
    rate: float = 0.1
    rows: int = 8
    ridge: float = 1.0
    loss: str = "squared_error"
    monotonic: tuple[int, ...] = ()
    features: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.leaves <= BITS or self.trees < 1:
            raise BadInputError(
                f"{self.trees} trees of {self.leaves} leaves cannot be grown.",
                "ask for one tree or more, of 2 to 8 leaves.",
            )


@dataclass(frozen=True)
class Boosted:
    """The sum of a `base` and of `trees` over rows of `width` features; its answers are logarithms if its targets were.

    Far from all rows it was grown on, trees answer as at the nearest edge: multiply by `Nearest.trust` to fall back to
    the formula.
    """

    width: int
    base: float
    trees: tuple[Tree, ...]

    @classmethod
    def fit(cls, x: ArrayLike, y: ArrayLike, growth: Growth | None = None, weight: ArrayLike | None = None) -> Self:
        """Learn targets `y` (n,), such as log residuals, from rows `x` (n, d); rows may weigh `weight` (n,)."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        grown = growth or Growth()
        model = HistGradientBoostingRegressor(
            loss=grown.loss,
            learning_rate=grown.rate,
            max_iter=grown.trees,
            max_leaf_nodes=grown.leaves,
            min_samples_leaf=grown.rows,
            l2_regularization=grown.ridge,
            max_features=grown.features,
            monotonic_cst=list(grown.monotonic) or None,
            early_stopping=False,
            random_state=grown.seed,
        )
        weights = None if weight is None else np.asarray(weight, dtype=np.float64)
        try:
            model.fit(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), sample_weight=weights)
        except ValueError as error:
            raise BadInputError(f"Trees cannot learn from this: {error}.", "give a finite target per row.") from error
        return cls.of(model)

    @classmethod
    def of(cls, model: Any) -> Self:
        """Take a fitted HistGradientBoostingRegressor (squared or absolute error, no categories, up to 8 leaves)."""
        stages = model._predictors  # ruff: ignore[private-member-access] - how trees lie in memory is public nowhere
        base = model._baseline_prediction  # ruff: ignore[private-member-access] - as above
        return cls(int(model.n_features_in_), float(np.ravel(base)[0]), tuple(Tree.of(one[0].nodes) for one in stages))

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """The answer (n,) for rows `x` (n, d); NaN is a missing value."""
        rows = np.asarray(x, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise BadInputError(f"Rows of shape {rows.shape} have not {self.width} features.", "give (rows, features).")
        return self.base + self._crossing.add_up(rows)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy, exact to the last digit."""
        return {"width": self.width, "base": self.base, "trees": [tree.to_list() for tree in self.trees]}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            width = int(body["width"])
            return cls(width, float(body["base"]), tuple(Tree.from_list(each, width) for each in body["trees"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"These are no boosted trees: {error!r}.", "fit them again.") from error

    @cached_property
    def _crossing(self) -> Crossing:
        return Crossing.of(self.trees)
