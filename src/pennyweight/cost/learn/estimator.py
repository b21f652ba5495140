"""What our estimators share with scikit-learn's: parameters, cloning, validation of what they are given."""

# ruff: file-ignore[invalid-argument-name] - scikit-learn's own names

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

# A subclass needs its base at once: modules that import this one are themselves imported inside functions.
from sklearn.base import BaseEstimator, RegressorMixin  # ruff: ignore[banned-module-level-imports] - as said above
from sklearn.utils.validation import check_is_fitted, validate_data  # ruff: ignore[banned-module-level-imports]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Estimator(RegressorMixin, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A regressor that scikit-learn's pipelines, searches and checks accept."""

    @abstractmethod
    def fit(self, X: Any, y: Any) -> Self:
        """Learn targets `y` (n,) from rows `X` (n, d)."""

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Answer rows `X` (n, d)."""

    def _pairs(self, X: Any, y: Any, **how: Any) -> tuple[Floats, Floats]:
        """Rows (n, d) and targets (n,) to learn from, validated."""
        rows, targets = validate_data(self, X, y, dtype=np.float64, y_numeric=True, **how)
        return rows, np.asarray(targets, dtype=np.float64)

    def _asked(self, X: Any, **how: Any) -> Floats:
        """Rows (n, d) to answer, validated; refused before anything was learned."""
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, dtype=np.float64, reset=False, **how)
        return rows
