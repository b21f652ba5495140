"""The chance that an example of a class is ranked above one that is not: area under the ROC curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.evals.labels import scores
from pennyweight.evals.metric import Measured, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@final
@dataclass(frozen=True, slots=True)
class RocAuc(Metric):
    """Binary, or the mean of one class against the rest; its variance is that of DeLong et al. (1988)."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over classes (class 1 alone if there are two)."""
        truth, ranked = scores(y, p)
        each = [area(truth == number, score) for number, score in ranked]
        influence = np.mean([one.influence for one in each], axis=0)
        return Measured(float(np.mean([one.value for one in each])), influence, _span(truth, len(each)))


def area(positive: NDArray[np.bool_], score: NDArray[Any]) -> Measured:
    """The area for one class, and each example's influence: its placement among the others (DeLong et al. 1988).

    Midranks make it O(N log N) (Sun & Xu 2014).
    """
    n_pos, n = int(positive.sum()), len(score)
    placement = np.empty(n)
    placement[positive] = (_midrank(score)[positive] - _midrank(score[positive])) / (n - n_pos)
    placement[~positive] = 1 - (_midrank(score)[~positive] - _midrank(score[~positive])) / n_pos
    value = float(placement[positive].mean())
    return Measured(value, (placement - value) * np.where(positive, n / n_pos, n / (n - n_pos)))


def _span(truth: NDArray[np.intp], rankings: int) -> float:
    """An example can fall from first to last in the ranking of its class, and rise likewise in those of the others."""
    share = np.bincount(truth) / len(truth)
    if rankings == 1:
        return float(1 / share.min())
    others = 1 / (1 - share)
    return float((1 / share + others.sum() - others).max() / rankings)


def _midrank(score: NDArray[Any]) -> NDArray[Any]:
    """Ranks from 1, equal scores sharing the mean of theirs."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]
