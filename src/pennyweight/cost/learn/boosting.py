"""Gradient boosting as an estimator; what it learned is a `Boosted`, which needs NumPy alone."""

# ruff: file-ignore[invalid-argument-name] - scikit-learn's own names

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.cost.learn.boosted import Boosted, Growth
from pennyweight.cost.learn.estimator import Estimator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@final
class Boosting(Estimator):
    """Small trees, boosted (Friedman 2001); the parameters are those of `Growth`. Missing values (NaN) are allowed.

    Meant for logarithms of costs, or of what a formula leaves unexplained. After `fit`: `boosted_`, kept as JSON by its
    `to_dict`.
    """

    def __init__(self, trees: int = 64, leaves: int = 4, rate: float = 0.1, rows: int = 8, ridge: float = 1.0) -> None:
        self.trees = trees
        self.leaves = leaves
        self.rate = rate
        self.rows = rows
        self.ridge = ridge

    def fit(self, X: Any, y: Any) -> Self:
        """Learn targets `y` (n,) from rows `X` (n, d)."""
        rows, targets = self._pairs(X, y, ensure_all_finite="allow-nan")
        self.boosted_ = Boosted.fit(rows, targets, Growth(self.trees, self.leaves, self.rate, self.rows, self.ridge))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Answer rows `X` (n, d) with (n,)."""
        rows = self._asked(X, ensure_all_finite="allow-nan")
        return self.boosted_.predict(rows)

    def __sklearn_tags__(self) -> Any:  # ruff: ignore[bad-dunder-method-name] - scikit-learn's own name
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
