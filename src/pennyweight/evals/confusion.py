"""The confusion table, and the mean over classes of any ratio of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.evals.labels import decide
from pennyweight.evals.metric import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Shares of examples per class (C,): answered right (`hit`), truly of it (`true`), answered with it (`said`)."""

    truth: NDArray[np.intp]
    answer: NDArray[np.intp]
    hit: NDArray[np.float64]
    true: NDArray[np.float64]
    said: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """A value per class (C,) and its derivatives by the class's `hit`, `true` and `said` share."""

    value: NDArray[Any]
    by_hit: NDArray[Any]
    by_true: NDArray[Any]
    by_said: NDArray[Any]


def confusion(y: NDArray[Any], p: NDArray[Any]) -> Confusion:
    """Count right answers, truths and answers per class; `y` with one class only is refused."""
    truth, answer, n_classes = decide(y, p)
    if (truth == truth[0]).all():
        raise BadInputError(
            f"Every example is of class {truth[0]}: a mean over classes says nothing.",
            "score on data with at least two classes, or use accuracy.",
        )
    hits = truth[truth == answer]
    hit, true, said = (np.bincount(which, minlength=n_classes) / len(truth) for which in (hits, truth, answer))
    return Confusion(truth, answer, hit, true, said)


def divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """`above / below`, zero where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros(len(below)), where=below > 0)


def macro(table: Confusion, ratio: Ratio, among: NDArray[np.bool_]) -> Measured:
    """The unweighted mean of a ratio over the classes `among`, by the delta method."""
    n = among.sum()
    by_hit, by_true, by_said = (np.where(among, part, 0) / n for part in (ratio.by_hit, ratio.by_true, ratio.by_said))
    right = table.truth == table.answer
    influence = right * by_hit[table.truth] + by_true[table.truth] + by_said[table.answer]
    answers = np.where(np.eye(len(among), dtype=bool), by_hit[:, None] + by_said, by_said)
    span = float(np.ptp(answers[table.true > 0], axis=1).max())
    return Measured(float(ratio.value[among].mean()), influence - influence.mean(), span)


def micro(y: NDArray[Any], p: NDArray[Any]) -> Measured:
    """The share of right answers: what precision, recall and F1 pooled over classes come to, one label each."""
    truth, answer, _ = decide(y, p)
    right = (truth == answer).astype(float)
    return Measured(float(right.mean()), right - right.mean(), 1.0)


def wrong(y: NDArray[Any], p: NDArray[Any]) -> NDArray[np.float64]:
    """One for each wrong answer, zero for each right one, (N,)."""
    truth, answer, _ = decide(y, p)
    return np.where(truth != answer, 1.0, 0.0)
