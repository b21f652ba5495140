"""The share of right answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.evals.labels import decide, finite
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class Accuracy(Metric):
    """Right answers over all answers; over all tokens for sequences."""

    counts_right: ClassVar[bool] = True

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The share of right answers; sequences (rows of `y`) are the independent examples."""
        right, size = right_answers(y, p)
        value = right.sum() / size.sum()
        return Measured(float(value), (right - value * size) / size.mean(), 1.0)

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any]:
        """The share of wrong answers in each example: zero or one but for sequences."""
        right, size = right_answers(y, p)
        return 1 - right / size


def right_answers(y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many answers of each example are right, (N,), and how many there are, (N,): 1, or its tokens."""
    if np.ndim(y) != 2:
        truth, answer, _ = decide(y, p)
        return (truth == answer).astype(float), np.ones(len(truth))
    p = finite(p)
    if p.ndim != 3 or p.shape[:2] != y.shape:
        raise BadInputError(
            f"Tokens of shape {y.shape} do not go with predictions of shape {p.shape}.", "give scores (N, T, V)."
        )
    real = y >= 0
    if not real.any(axis=1).all():
        raise BadInputError("A sequence consists of padding only.", "leave it out.")
    return ((p.argmax(axis=2) == y) & real).sum(axis=1).astype(float), real.sum(axis=1).astype(float)
