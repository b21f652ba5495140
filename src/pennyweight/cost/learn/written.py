"""Columns and weights as JSON: with as many digits as matter, names once each, and read again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGITS = 6
_PLACES = 10  # of the largest weight
_TINY = 1e-300


def plain(column: NDArray[Any]) -> list[Any] | dict[str, list[Any]]:
    """Numbers (n,) with six digits; of names (n,) each once, and which of them a row has."""
    if column.dtype.kind == "f":
        return [float(f"{value:.{_DIGITS}g}") for value in column]
    names, at = np.unique(column.astype(np.str_), return_inverse=True)
    return {"names": names.tolist(), "at": at.reshape(-1).tolist()}


def column_of(written: Any) -> NDArray[Any]:
    """The column (n,) that `plain` wrote; a plain list of names is one too."""
    if isinstance(written, dict):
        return np.array(written["names"], dtype=np.str_)[np.array(written["at"], dtype=np.int64)]
    return np.array(written)


def whole(weights: NDArray[np.float64]) -> dict[str, Any]:
    """Weights (n,) as whole numbers of a step: where they nearly cancel, it takes more digits than results have."""
    step = 10.0 ** (math.ceil(math.log10(max(float(np.abs(weights).max()), _TINY))) - _PLACES)
    return {"step": step, "at": np.rint(weights / step).astype(np.int64).tolist()}


def whole_of(written: Any) -> NDArray[np.float64]:
    """The weights (n,) that `whole` wrote."""
    return np.array(written["at"], dtype=np.float64) * float(written["step"])
