"""Locally weighted linear regression, and the rows that do not fit their neighbours."""

# ruff: file-ignore[invalid-argument-name] - scikit-learn's own names

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.cost.learn import kernels
from pennyweight.cost.learn.estimator import Estimator
from pennyweight.cost.learn.leaving import codes_of
from pennyweight.cost.learn.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64] | None

_CELLS = 1 << 21  # numbers held at once: 16 MiB
_REACHES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # bandwidths tried, in typical distances to the nearest row
_SPREADS = (0.25, 0.5, 1.0)  # and in typical distances between any two rows
_LEAST = 1e-9
_ODD = 4.0  # robust deviations: beyond, a row says nothing about others when oddness is judged
_NORMAL = 1.4826  # median absolute deviation to standard deviation


@final
class LocallyWeightedRegression(Estimator):
    """At each place a straight line of its own, fitted with weights that fall with the distance (Cleveland 1979).

    Rows are standardised; `kernel` ("rbf", "polynomial" or "laplacian") is in `kernels.weights`. Every row has at least
    the weight `floor`, so that far from all rows the line is the global one; `ridge` (in rows) shrinks slopes.
    `bandwidth` None chooses the one whose absolute error is least when each row is left out, in closed form: with the
    hat matrix S, `(y - S y)_i / (1 - S_ii)` is the error of the fit without row i. With `groups` in `fit`, the whole
    group of each row is left out instead.

    n rows of d features, m places, B bandwidths tried: `fit` takes O(B n² d²) operations, `predict` O(m n d² + m d³),
    both in batches of bounded memory. After `fit`: `bandwidth_`, `left_out_` (n,) answers without the row (or group).
    """

    def __init__(
        self,
        kernel: str = "rbf",
        bandwidth: float | None = None,
        degree: int = 2,
        floor: float = 1e-3,
        ridge: float = 1e-2,
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.degree = degree
        self.floor = floor
        self.ridge = ridge

    def fit(self, X: Any, y: Any, groups: ArrayLike | None = None) -> Self:
        """Keep rows `X` (n, d) with targets `y` (n,), and choose the bandwidth, leaving out rows or `groups` (n,)."""
        rows, targets = self._pairs(X, y)
        kernels.known(self.kernel)
        self._mean, self._spread = rows.mean(axis=0), rows.std(axis=0)
        self._spread[self._spread < _LEAST * np.maximum(np.abs(self._mean), 1.0)] = 1.0
        self._rows = (rows - self._mean) / self._spread
        self._lines = Lines.of(self._rows, targets, self.ridge)
        self._trust = np.ones(len(rows))
        codes = codes_of(groups) if groups is not None and len(np.unique(np.asarray(groups))) > 1 else None
        tried = [self.bandwidth] if self.bandwidth is not None else self._bandwidths()
        answers = [self._left_out(width, codes) for width in tried]
        errors = [float(np.abs(targets - answer).mean()) for answer in answers]
        best = int(np.argmin(errors))
        self.bandwidth_, self.left_out_ = float(tried[best]), answers[best]
        return self

    def predict(self, X: Any) -> Floats:
        """Answer rows `X` (m, d) with (m,)."""
        places = (self._asked(X) - self._mean) / self._spread
        found = np.empty(len(places))
        for part in self._parts(len(places)):
            found[part] = self._lines.at(places[part], self._weights(places[part], self.bandwidth_))
        return found

    def anomaly_score(self, X: Any, y: Any) -> Floats:
        """How many deviations (n,) each target `y` (n,) is from what the *other* rows of `X` (n, d) say, with sign.

        The studentised residual of leaving it out, `t_i = (y - S y)_i / (1 - S_ii) / (s √(1 + Σ_j≠i S_ij² / (1 -
        S_ii)²))`, with s from the median absolute value, which a few odd rows do not move. Rows beyond four deviations
        are then left out of all lines, and all are judged once more. Above 3 to 4: does not fit. What was fitted before
        is not touched; only the parameters count.
        """
        return self.judge(X, y)[0]

    def judge(self, X: Any, y: Any) -> tuple[Floats, Floats]:
        """The anomaly scores (n,), and what was expected (n,) in place of each target `y`."""
        from sklearn.base import clone

        other: Self = clone(self)
        return other.fit(X, y)._judged()  # ruff: ignore[private-member-access] - of a copy of itself

    def _judged(self) -> tuple[Floats, Floats]:
        found = self._studentised()
        self._trust = (np.abs(found[0]) <= _ODD).astype(np.float64)
        return found if self._trust.all() else self._studentised()

    def _studentised(self) -> tuple[Floats, Floats]:
        targets = self._lines.targets
        off, spread = np.empty(len(targets)), np.empty(len(targets))
        for part in self._parts(len(targets)):
            hat, own = self._hat(part, self.bandwidth_)
            off[part] = (targets[part] - hat @ targets) / (1 - own)
            spread[part] = np.sqrt(1 + (np.vecdot(hat, hat) - own**2) / (1 - own) ** 2)
        scaled = off / spread
        deviation = _NORMAL * float(np.median(np.abs(scaled)))
        least = max(_LEAST * float(np.abs(targets).max()), np.finfo(np.float64).tiny)
        return scaled / max(deviation, least), targets - off

    def _left_out(self, bandwidth: float, codes: Codes) -> Floats:
        """What the lines say of each row (n,) without it, or without its group."""
        targets = self._lines.targets
        found = np.empty(len(targets))
        for part in self._parts(len(targets)):
            if codes is None:
                hat, own = self._hat(part, bandwidth)
                found[part] = (hat @ targets - own * targets[part]) / (1 - own)
            else:
                others = self._weights(self._rows[part], bandwidth) * (codes[part, None] != codes)
                found[part] = self._lines.at(self._rows[part], others)
        return found

    def _hat(self, part: slice, bandwidth: float) -> tuple[Floats, Floats]:
        """The hat matrix's lines (k, n) for some rows, as if each were trusted itself, and its diagonal (k,)."""
        weights = self._weights(self._rows[part], bandwidth)
        mine = np.arange(len(weights)), np.arange(part.start, part.start + len(weights))
        weights[mine] = 1.0 + self.floor
        hat = self._lines.smoother(self._rows[part], weights)
        return hat, np.minimum(hat[mine], 1 - _LEAST)

    def _weights(self, places: Floats, bandwidth: float) -> Floats:
        distances = kernels.apart(self.kernel, places, self._rows)
        near = kernels.weights(self.kernel, distances, bandwidth, self.degree)
        return (near + self.floor) * self._trust

    def _parts(self, count: int) -> Iterator[slice]:
        step = max(_CELLS // self._lines.cells, 1)
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _bandwidths(self) -> list[float]:
        """What to try: multiples of how far rows are from their nearest and from each other, and no locality at all."""
        some = np.linspace(0, len(self._rows) - 1, min(len(self._rows), 256)).astype(int)
        distances = kernels.apart(self.kernel, self._rows[some], self._rows)
        distances = np.where(distances > _LEAST, distances, np.inf)
        nearest = distances.min(axis=1)
        if not np.isfinite(nearest).any():
            return [1.0]
        near, far = float(np.median(nearest[np.isfinite(nearest)])), float(np.median(distances[np.isfinite(distances)]))
        return sorted({*(near * reach for reach in _REACHES), *(far * share for share in _SPREADS), far * 100})
