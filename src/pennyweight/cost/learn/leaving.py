"""Leaving whole groups out: the only errors from which an honest interval for a group never seen can be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Predictor = Callable[[NDArray[np.bool_], NDArray[np.bool_]], NDArray[np.float64]]

FOLDS = 10


def codes_of(groups: ArrayLike) -> NDArray[np.int64]:
    """Number the groups (n,) from zero, in the order of their sorted names."""
    names = np.asarray(groups)
    if names.ndim != 1 or not len(names):
        raise BadInputError("There are no groups to leave out.", "give the name of its group for each row.")
    _, codes = np.unique(names, return_inverse=True)
    return codes.astype(np.int64)


def folds_of(groups: ArrayLike, folds: int = FOLDS) -> list[NDArray[np.bool_]]:
    """Deal whole groups (n,) out into masks (n,) of about equally many rows; one mask per group where there are few."""
    codes = codes_of(groups)
    counts = np.bincount(codes)
    sizes, dealt = np.zeros(min(folds, len(counts))), np.zeros(len(counts), dtype=np.int64)
    for at in np.argsort(-counts, kind="stable"):
        dealt[at] = int(np.argmin(sizes))
        sizes[dealt[at]] += counts[at]
    return [dealt[codes] == number for number in range(len(sizes))]


def predict_left_out(predict: Predictor, groups: ArrayLike, folds: int = FOLDS) -> NDArray[np.float64]:
    """Predict each row (n,) from rows of other groups alone.

    `predict(learned, asked)` gets two masks (n,): it learns from the first and answers the rows of the second, in
    order. With one group alone nothing can be left out, and that is refused.
    """
    masks = folds_of(groups, folds)
    if len(masks) < 2:
        raise BadInputError("One group cannot be left out of itself.", "give rows of at least two groups.")
    found = np.full(len(masks[0]), np.nan)
    for asked in masks:
        found[asked] = predict(~asked, asked)
    return found
