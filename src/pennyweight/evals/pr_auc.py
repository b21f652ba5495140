"""The mean precision at the rank of each example of a class: area under the precision-recall curve."""

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
class PrAuc(Metric):
    """Average precision, binary, or the mean of one class against the rest."""

    def measure(self, y: NDArray[Any], p: NDArray[Any]) -> Measured:
        """The mean over classes (class 1 alone if there are two).

        The span is that of an example's own precision; one false example at the very top of a long list could do more,
        log(N) times as much, but to count on it would drown everything else.
        """
        truth, ranked = scores(y, p)
        each = [average_precision(truth == number, score) for number, score in ranked]
        influence = np.mean([one.influence for one in each], axis=0)
        rarest = np.bincount(truth).min() / len(truth)
        return Measured(float(np.mean([one.value for one in each])), influence, float(1 / (rarest * len(each))))


def average_precision(positive: NDArray[np.bool_], score: NDArray[Any]) -> Measured:
    """The value for one class, and each example's influence.

    With π the share of the class, A(s) the share ranked at s or above and T(s) that of the class among them, it is
    E[Y T(S)/A(S)] / π. An example of class y0 at s0 moves the expectation by y0 T(s0)/A(s0), its own term, and by
    E[Y 1(S ≤ s0) (y0/A(S) - T(S)/A(S)²)], what it does to the precision of all ranked below it.
    """
    n = len(score)
    place = np.unique(-score, return_inverse=True)[1]
    above = np.cumsum(np.bincount(place)) / n
    hits = np.bincount(place, weights=positive)
    true_above = np.cumsum(hits) / n
    precision = true_above / above
    gain, loss = _from_below(hits / above) / n, _from_below(hits * precision / above) / n
    share = positive.mean()
    value = float((hits * precision).sum() / n / share)
    own = positive * (precision + gain)[place] - loss[place]
    influence = own / share - value * positive / share
    return Measured(value, influence - influence.mean())


def _from_below(values: NDArray[Any]) -> NDArray[Any]:
    """Sums over each entry and all after it."""
    return np.cumsum(values[::-1])[::-1]
