"""Cross-validation: every example is tested on once, by a model that has not seen it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pennyweight.core import Score
from pennyweight.data.splits import deal, is_classes
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pennyweight.data.splits import Arrays


class Scorer(Protocol):
    """Anything that scores answers `p` against the truth `y`, such as a metric of `evals`."""

    def score(self, y: NDArray[Any], p: NDArray[Any]) -> Score:
        """The score of one set of answers."""


def folds(arrays: Arrays, k: int = 5, seed: int = 0) -> Iterator[tuple[Arrays, Arrays]]:
    """`k` pairs of training and test rows; the test rows are disjoint and together everything.

    Classes keep their share in every fold and groups stay whole, as in `split`. Raises `BadInputError` at once if there
    are too few rows, groups or examples of a class for that.
    """
    if k < 2:
        raise BadInputError(f"{k} folds leave nothing to compare.", "use at least 2, commonly 5.")
    classes = arrays.y if is_classes(arrays.y) else None
    try:
        home = deal(len(arrays), [1 / k] * k, classes=classes, groups=arrays.groups, seed=seed)
    except BadInputError as error:
        raise BadInputError(error.problem.replace("parts", "folds"), "use fewer folds, or give more data.") from None
    pairs = ((np.flatnonzero(home != number), np.flatnonzero(home == number)) for number in range(k))
    return ((arrays.take(train), arrays.take(test)) for train, test in pairs)


def cross_validate(
    fit_and_predict: Callable[[Arrays, NDArray[Any]], NDArray[Any]],
    arrays: Arrays,
    metric: Scorer,
    k: int = 5,
    seed: int = 0,
) -> Score:
    """Train `k` times on all folds but one and score the one left out; the mean score with its standard error.

    `fit_and_predict(train, x)` trains on `train` and answers `x`. For a whole job see `engine.validating`.
    """
    return joined([metric.score(test.y, fit_and_predict(train, test.x)) for train, test in folds(arrays, k, seed)])


def joined(scores: Sequence[Score]) -> Score:
    """The mean of the scores of all folds, with its standard error.

    Trainings share data, so the plain standard error of the mean is too small; the variance of the fold scores is
    multiplied by 1/k + n_test/n_train instead of 1/k (Nadeau & Bengio 2003).
    """
    k, means = len(scores), np.array([score.mean for score in scores])
    correction = 1 / k + 1 / (k - 1)
    rows = sum(score.n for score in scores)
    return Score(scores[0].metric, float(means.mean()), math.sqrt(correction * means.var(ddof=1)), rows)
