"""Cutting one training set into those of clients, for trying out what federated training will do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 2  # rows, or a client cannot train
_TRIES = 100


def cut(y: NDArray[np.generic], clients: int, alpha: float | None, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each client: evenly at random, or every class in shares drawn from a Dirichlet(`alpha`).

    `y` (N,) are the labels. Uneven cuts follow Hsu et al. (2019) class by class, drawn again while a client has fewer
    than two rows. Raises `BadInputError` if there are too few rows.
    """
    if len(y) < _LEAST * clients:
        raise BadInputError(f"{len(y)} rows are too few for {clients} clients.", "use fewer clients.")
    rng = np.random.default_rng(seed)
    if alpha is None:
        return [np.sort(each) for each in np.array_split(rng.permutation(len(y)), clients)]
    for _ in range(_TRIES):
        parts = _uneven(y, clients, alpha, rng)
        if min(map(len, parts)) >= _LEAST:
            return parts
    raise BadInputError(
        f"With alpha {alpha:g} some of {clients} clients get no rows.", "use a larger alpha or fewer clients."
    )


def _uneven(y: NDArray[np.generic], clients: int, alpha: float, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    found: list[list[NDArray[np.int64]]] = [[] for _ in range(clients)]
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        ends = np.round(np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1] * len(rows)).astype(int)
        for mine, piece in zip(found, np.split(rows, ends), strict=True):
            mine.append(piece)
    return [np.sort(np.concatenate(each)) for each in found]


def part(data: Any, rows: NDArray[Any]) -> Any:
    """The given rows of `data` (x, y), copied."""
    return SimpleNamespace(x=data.x[rows].copy(), y=data.y[rows].copy())
