"""Predicted and true values: what is accepted, and what is refused with which fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.evals.labels import finite

if TYPE_CHECKING:
    from numpy.typing import NDArray


def values(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and predicted values, both (N,) and float64; a column (N, 1) is taken as (N,)."""
    truth, answer = _column(finite_truth(y)), _column(finite(p))
    if truth.ndim != 1 or truth.shape != answer.shape:
        raise BadInputError(
            f"y has shape {np.shape(y)}, the predictions {np.shape(p)}.", "give one value per example in both."
        )
    if len(truth) == 0:
        raise BadInputError("There are no examples to score.", "give at least one.")
    return truth.astype(float), answer.astype(float)


def finite_truth(y: NDArray[Any]) -> NDArray[Any]:
    """`y` as an array of numbers without NaN or infinity."""
    y = np.asarray(y)
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise BadInputError("y holds something else than finite numbers.", "drop the rows without a true value.")
    return y


def _column(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
