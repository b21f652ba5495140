"""How much a measured row says about another place, by how far away it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kernel = Literal["rbf", "polynomial", "laplacian"]


def known(kernel: str) -> str:
    """The name of a kernel, refused if there is none of that name."""
    if kernel not in get_args(Kernel):
        raise UnknownNameError.of("kernel", kernel, get_args(Kernel))
    return kernel


def apart(kernel: str, asked: Floats, rows: Floats) -> Floats:
    """Distances (m, n) between places (m, d) and rows (n, d): city-block for the Laplacian, else Euclidean."""
    if kernel == "laplacian":
        found = np.zeros((len(asked), len(rows)))
        for one, other in zip(asked.T, rows.T, strict=True):
            found += np.abs(one[:, None] - other)
        return found
    squared = np.vecdot(asked, asked)[:, None] + np.vecdot(rows, rows) - 2 * (asked @ rows.T)
    distances: Floats = np.sqrt(np.maximum(squared, 0.0))
    return distances


def weights(kernel: str, distances: Floats, bandwidth: float, degree: int) -> Floats:
    """Weights (m, n) between 0 and 1 at `distances` (m, n), with u = distance / bandwidth.

    "rbf": `exp(-u²/2)`; "laplacian": `exp(-u)`; "polynomial": `(1 - u²)^degree` up to u = 1 and nothing beyond
    (degree 1 is Epanechnikov's, 2 the biweight, 3 the triweight).
    """
    u = distances / bandwidth
    if kernel == "rbf":
        found: Floats = np.exp(-0.5 * u**2)
    elif kernel == "laplacian":
        found = np.exp(-u)
    else:
        found = np.maximum(1 - u**2, 0.0) ** degree
    return found
