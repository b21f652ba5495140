"""An online linear unit: learns from each measurement once, as it comes, in constant memory."""

# ruff: file-ignore[invalid-argument-name] - scikit-learn's own names

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.cost.learn.estimator import Estimator
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@final
class Adaline(Estimator):
    """An adaptive linear unit (Widrow & Hoff 1960) with weights w over rows that are standardised on the fly.

    For each row, with z = (1, (x - mean)/deviation) from the running moments (Welford 1962) and e = y - w·z::

        w += rate / (1 + decay · t) · e · z / (z·z)      normalised LMS (Nagumo & Noda 1967), 0 < rate < 2
        w += rate / (1 + decay · t) · e · z              with normalised=False: plain LMS, needs a small rate

    t counts the rows seen. `decay` = 0 keeps following a cost that drifts; above zero the unit settles. `fit` is one
    pass over the rows in their order, `partial_fit` goes on from where it is. O(d) time and memory per row.

    After `fit`: `coef_` (d,) and `intercept_` in units of the rows given, `seen_` rows.
    """

    def __init__(self, rate: float = 0.5, decay: float = 0.01, *, normalised: bool = True) -> None:
        self.rate = rate
        self.decay = decay
        self.normalised = normalised

    def fit(self, X: Any, y: Any) -> Self:
        """Forget what was learned, and learn targets `y` (n,) from rows `X` (n, d) in one pass."""
        rows, targets = self._pairs(X, y)
        self._forget(rows.shape[1])
        return self._pass(rows, targets)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Learn from further rows `X` (n, d) with targets `y` (n,)."""
        first = not hasattr(self, "seen_")
        rows, targets = self._pairs(X, y, reset=first)
        if first:
            self._forget(rows.shape[1])
        return self._pass(rows, targets)

    def predict(self, X: Any) -> Floats:
        """Answer rows `X` (n, d) with (n,)."""
        rows = self._asked(X)
        found: Floats = self._weights[0] + (rows - self._mean) / self._spread() @ self._weights[1:]
        return found

    @property
    def coef_(self) -> Floats:
        """What one unit of each feature adds (d,)."""
        found: Floats = self._weights[1:] / self._spread()
        return found

    @property
    def intercept_(self) -> float:
        """The answer to a row of zeros."""
        return float(self._weights[0] - self.coef_ @ self._mean)

    def _forget(self, width: int) -> None:
        self.seen_ = 0
        self._weights = np.zeros(1 + width)
        self._mean, self._squares = np.zeros(width), np.zeros(width)

    def _spread(self) -> Floats:
        """Running standard deviations (d,); one where nothing has varied yet."""
        spread = np.sqrt(self._squares / max(self.seen_, 1))
        return np.where(spread > 0, spread, 1.0)

    def _pass(self, rows: Floats, targets: Floats) -> Self:
        for row, target in zip(rows, targets, strict=True):
            self._step(row, float(target))
        if not np.isfinite(self._weights).all():
            raise BadInputError("The unit's weights ran away.", "use a smaller rate, or normalised=True.")
        return self

    def _step(self, row: Floats, target: float) -> None:
        self.seen_ += 1
        off = row - self._mean
        self._mean += off / self.seen_
        self._squares += off * (row - self._mean)
        z = np.concatenate([[1.0], (row - self._mean) / self._spread()])
        rate = self.rate / (1 + self.decay * (self.seen_ - 1))
        step = rate * (target - float(self._weights @ z))
        self._weights += step * z / (float(z @ z) if self.normalised else 1.0)
