"""After a few measured rows of one's own: which learner moves later predictions best.

Locally weighted regression predicts each group from the others, as in `bench.learners`. Then rows of that group come
in, in any order, and each learner corrects the logarithm of what is predicted for the rest of the group.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from bench.heldout import DATA
from bench.learners import LEARNERS, energy, fitted, serving, vtrain
from bench.report import emit, table
from pennyweight.cost.learn.adaline import Adaline
from pennyweight.cost.learn.bayesian import BayesianRidge
from pennyweight.cost.learn.leaving import predict_left_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bench.learners import Task

    Floats = NDArray[np.float64]

KNOWN = (1, 3, 10, 20)
REPEATS = 10
LEAST = 30  # rows a group must have


def nothing(_: Floats, __: Floats, asked: Floats) -> Floats:
    """Predictions stay as they are."""
    return np.zeros(len(asked))


def offset(_: Floats, y: Floats, asked: Floats) -> Floats:
    """One factor for all: the mean, drawn to none by one imagined row."""
    return np.full(len(asked), y.sum() / (len(y) + 1))


def learner(make: Callable[[], Any]) -> Callable[[Floats, Floats, Floats], Floats]:
    """What an estimator makes of the features."""

    def correct(x: Floats, y: Floats, asked: Floats) -> Floats:
        found: Floats = make().fit(x, y).predict(asked)
        return found

    return correct


CORRECTIONS = {
    "nothing": nothing,
    "one factor": offset,
    "Adaline": learner(Adaline),
    "Adaline, slow": learner(lambda: Adaline(rate=0.2)),
    "BayesianRidge": learner(BayesianRidge),
}


def left_over(task: Task) -> Floats:
    """Logarithm of measured / predicted (n,) where each group is predicted from the others."""
    x, y, groups = task.features, task.logs, task.groups

    def predict(seen: NDArray[np.bool_], asked: NDArray[np.bool_]) -> Floats:
        found: Floats = fitted(LEARNERS["LWR rbf"], x[seen], y[seen], groups[seen]).predict(x[asked])
        return found

    found: Floats = y - predict_left_out(predict, groups)
    return found


def error(task: Task, rest: Floats, known: int, correct: Callable[[Floats, Floats, Floats], Floats]) -> float:
    """Mean relative error of the rest of each group after `known` of its rows."""
    random, off = np.random.default_rng(0), []
    names, counts = np.unique(task.groups, return_counts=True)
    for name in names[counts >= LEAST]:
        for _ in range(REPEATS):
            order = random.permutation(np.flatnonzero(task.groups == name))
            seen, asked = order[:known], order[max(KNOWN) :]
            gone = rest[asked] - correct(task.features[seen], rest[seen], task.features[asked])
            off.append(np.abs(np.expm1(-gone)))
    return float(np.concatenate(off).mean())


def main() -> None:
    """Print the table; its last line is JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    data = options.parse_args().data
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines, figures = [], {}
    for task in (*vtrain(data)[1:], *energy(data), *serving(data)):
        rest = left_over(task)
        for name, correct in CORRECTIONS.items():
            errors = [error(task, rest, known, correct) for known in KNOWN]
            lines.append([task.name, name, *(f"{100 * each:.1f}%" for each in errors)])
            figures |= {f"{task.key}_{name}_{known}": each for known, each in zip(KNOWN, errors, strict=True)}
    table(["table", "corrected by", *(f"{known} rows" for known in KNOWN)], lines)
    emit("learners_live", figures, REPEATS)


if __name__ == "__main__":
    main()
