"""Bayesian ridge regression that throws out what does not fit, and says how sure it is."""

# ruff: file-ignore[invalid-argument-name] - scikit-learn's own names

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.cost.learn.estimator import Estimator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NORMAL = 1.4826  # median absolute deviation to standard deviation
_LEAST = 1e-12  # relative to the targets: below is rounding


@final
class BayesianRidge(Estimator):
    """A line through standardised rows whose ridge and noise are inferred, fitted again without misfits until stable.

    Each round fits scikit-learn's `BayesianRidge` (MacKay 1992, Tipping 2001) to the rows kept, and standardises *all*
    residuals by the predictive deviation at their row, noise included: `|y - mean(x)| / sd(x)`. Where the residuals'
    median absolute deviation says that there is less noise, sd is scaled down to it: many misfits inflate the noise
    behind which they hide. Rows above `misfit` are left out of the next round, and may come back. It ends when the same
    rows are kept as before, or after `rounds`. At least the share `keep` of the rows, those that fit best, is kept.

    After `fit`: `kept_` (n,) mask, `rounds_` fits made, `coef_` (d,) and `intercept_` in units of the rows given, and
    `noise_`, the deviation of what no line explains.
    """

    def __init__(self, misfit: float = 3.0, rounds: int = 10, keep: float = 0.5) -> None:
        self.misfit = misfit
        self.rounds = rounds
        self.keep = keep

    def fit(self, X: Any, y: Any) -> Self:
        """Learn targets `y` (n,) from rows `X` (n, d)."""
        rows, targets = self._pairs(X, y)
        self._mean, self._spread = rows.mean(axis=0), rows.std(axis=0)
        self._spread[self._spread == 0] = 1.0
        standard = (rows - self._mean) / self._spread
        kept, seen = np.ones(len(rows), dtype=np.bool_), set[bytes]()
        self.rounds_ = 0
        while self.rounds_ < max(self.rounds, 1) and kept.tobytes() not in seen:
            seen.add(kept.tobytes())
            self._line(standard, targets, kept)
            kept = self._fitting(standard, targets)
        self.coef_: Floats = self._model.coef_ / self._spread
        self.intercept_ = float(self._model.intercept_ - self.coef_ @ self._mean)
        self.noise_ = float(1 / np.sqrt(self._model.alpha_))
        return self

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Answer rows `X` (n, d): means (n,), with `return_std` also standard deviations (n,), noise included."""
        standard = (self._asked(X) - self._mean) / self._spread
        return self._model.predict(standard, return_std=return_std)

    def _line(self, rows: Floats, targets: Floats, kept: NDArray[np.bool_]) -> None:
        from sklearn.linear_model import BayesianRidge as Line

        self.kept_, self.rounds_ = kept, self.rounds_ + 1
        self._model = Line().fit(rows[kept], targets[kept])

    def _fitting(self, rows: Floats, targets: Floats) -> NDArray[np.bool_]:
        """Which rows (n,) fit the line as it is."""
        mean, sd = self._model.predict(rows, return_std=True)
        off = targets - mean
        usual = _NORMAL * float(np.median(np.abs(off - np.median(off))))
        usual = max(usual, _LEAST * float(np.abs(targets).max()), np.finfo(np.float64).tiny)
        off = np.abs(off) / (sd * min(1.0, usual * float(np.sqrt(self._model.alpha_))))
        enough = int(np.ceil(self.keep * len(rows)))
        found: NDArray[np.bool_] = off <= max(self.misfit, np.sort(off)[enough - 1] if enough else 0.0)
        return found
