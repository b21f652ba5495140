"""A kernel machine on a few landmarks: one linear system to solve instead of thousands of steps of descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_HARDER = 10.0  # times more ridge where rounding leaves a matrix that is not positive
_TRIES = 8
_ROUNDING = 2.0**-24  # of a float32, as a share
_BLOCK = 64
_CHUNK = 4096  # rows whose products are added in float32; these sums are added in float64


@dataclass(frozen=True, slots=True)
class Settings:
    """How many rows are `landmarks`, how `sharp` the kernel exp(-sharp·|a - b|²) is, and the `ridge` per row."""

    landmarks: int = 1000
    sharp: float = 6.0
    ridge: float = 5e-7


@dataclass(frozen=True, slots=True)
class LandmarkMachine:
    """Answers (N, K) as sums of kernels around the landmarks: `points` (M, D), `weights` (M, K), both float32."""

    points: Floats
    weights: Floats
    sharp: float

    @classmethod
    def fit(cls, x: Floats, targets: NDArray[Any], settings: Settings, *, seed: int = 0) -> LandmarkMachine:
        """Least squares of `targets` (N, K) on the kernels between rows of `x` (N, D), of length one, and landmarks.

        Landmarks are rows drawn by chance (Williams and Seeger 2001, Using the Nyström Method to Speed Up Kernel
        Machines). Time grows with N·M·(D + M) + M³, memory with N·D + M². Raises `BadInputError` for rows or targets
        that are not finite and for fewer rows than two.
        """
        _check(x, targets)
        chosen = np.random.default_rng(seed).permutation(len(x))[: settings.landmarks]
        points = np.ascontiguousarray(x[np.sort(chosen)], dtype=np.float32)
        gram = np.zeros((len(points), len(points)))
        aims = np.zeros((len(points), targets.shape[1]))
        for at in range(0, len(x), _CHUNK):
            kernels = _kernels(x[at : at + _CHUNK], points, settings.sharp)
            gram += kernels.T @ kernels
            aims += kernels.T @ targets[at : at + _CHUNK].astype(np.float32)
        weights = _solved(gram, aims, settings.ridge * len(x))
        return cls(points, weights.astype(np.float32), settings.sharp)

    def predict(self, x: Floats) -> Floats:
        """The answers (N, K) to rows (N, D) of length one."""
        answers: Floats = _kernels(x, self.points, self.sharp) @ self.weights
        return answers


def one_hot(labels: NDArray[Any], classes: int) -> Floats:
    """Labels (N,) as targets (N, classes): one for the class, minus one for the others."""
    targets = np.full((len(labels), classes), -1, np.float32)
    targets[np.arange(len(labels)), labels] = 1
    return targets


def _kernels(x: Floats, points: Floats, sharp: float) -> Floats:
    """exp(-sharp·|a - b|²) for rows of length one, where |a - b|² = 2 - 2 a·b."""
    kernels: Floats = x @ points.T
    kernels -= 1
    kernels *= np.float32(2 * sharp)
    np.exp(kernels, out=kernels)
    return kernels


def _solved(gram: NDArray[np.float64], aims: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Solve (gram + ridge) w = aims; the ridge grows where the products' rounding left no positive matrix."""
    for _ in range(_TRIES):
        firm = gram.copy()
        firm.flat[:: len(gram) + 1] += ridge
        try:
            root = np.linalg.cholesky(firm).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            ridge = max(_HARDER * ridge, _ROUNDING * float(gram.diagonal().max()))
        else:
            halfway = _forward(root, aims)
            return _forward(root.T[::-1, ::-1], halfway[::-1])[::-1]
    raise BadInputError("The rows are all but the same.", "give rows that differ, or fewer landmarks.")


def _forward(lower: NDArray[np.float64], aims: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a lower triangular system by blocks: NumPy has no such solver, and SciPy takes longer to load."""
    found = np.empty_like(aims)
    for at in range(0, len(aims), _BLOCK):
        here = slice(at, at + _BLOCK)
        found[here] = np.linalg.solve(lower[here, here], aims[here] - lower[here, :at] @ found[:at])
    return found


def _check(x: Floats, targets: NDArray[Any]) -> None:
    if len(x) < 2 or len(x) != len(targets):
        raise BadInputError(f"There are {len(x)} rows and {len(targets)} answers.", "give two or more of each.")
    if not (np.isfinite(x).all() and np.isfinite(targets).all()):
        raise BadInputError("Some rows or answers are not finite.", "clean them first.")
