"""What every metric promises: a value, how each example moves it, and so a standard error."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pennyweight.core import Score, higher_is_better
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A metric's `value` and the `influence` (N,) of each example on it.

    The influence function says how the value moves when one example counts a little more; it has mean zero, and the
    variance of the value is that of its mean (Hampel 1974). `span` is the most by which another answer to a single
    example could change its influence, None if there is no bound.
    """

    value: float
    influence: NDArray[Any]
    span: float | None = None


class Metric(ABC):
    """One number for a set of answers; subclasses are final frozen dataclasses, one per file, named by it.

    `y` are the true classes (N,), values (N,) or tokens (N, T; negative ones are padding). `p` are class
    probabilities (N, C), values (N,), token probabilities (N, T, V) or the log-likelihood of each token (N, T).
    Whatever does not fit raises `BadInputError`.
    """

    counts_right: ClassVar[bool] = False  # whether it is the share of right answers, for which exact tests exist

    @property
    def name(self) -> str:
        """The metric's name: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""
        return higher_is_better(self.name)

    @abstractmethod
    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The value and each example's influence on it."""

    def losses(self, y: NDArray[Any], p: NDArray[Any]) -> NDArray[Any] | None:  # ruff: ignore[unused-method-argument]
        """One loss per example (N,), higher is worse, whose mean orders models as the metric does, if there is one."""
        return None

    def score(self, y: NDArray[Any], p: NDArray[Any], groups: NDArray[Any] | None = None) -> Score:
        """The value with its standard error; examples of one group (N,) are taken to depend on each other.

        The error of a bounded metric is never zero: having seen no variation is no proof that there is none.
        """
        measured = self.measure(y, p)
        se = standard_error(per_unit(measured.influence, groups), measured.span)
        return Score(self.name, measured.value, se, len(measured.influence))


def standard_error(units: NDArray[Any], span: float | None) -> float:
    """The standard error of a value from the influence (G,) of each independent unit; infinite for a single one.

    Units that are all alike are taken to hold one that could have moved the value by its `span`.
    """
    n = len(units)
    if n < 2:
        return math.inf
    squares, unseen = float(units @ units), (span or 0.0) ** 2
    if squares < 1e-12 * unseen:  # nothing but rounding
        squares = unseen
    return math.sqrt(squares / (n * (n - 1)))


def per_unit(influence: NDArray[Any], groups: NDArray[Any] | None) -> NDArray[Any]:
    """Influence (N,) summed over each group, (G,), scaled so that its mean is still the move of the value."""
    if groups is None:
        return influence
    if np.shape(groups) != influence.shape:
        raise BadInputError(
            f"There are {len(influence)} examples but groups of shape {np.shape(groups)}.",
            "give one group per example.",
        )
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(codes, weights=influence)
    return sums * (len(sums) / len(influence))
