"""The contract of a backend: open a job, answer, count and export what it became."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import Task

if TYPE_CHECKING:
    from pennyweight.core import Artifact, Job, Op, Work


class Backend(ABC):
    """A library that holds models: it opens jobs and turns the results into predictions, counts and files."""

    @abstractmethod
    def open(self, job: Job, *, fidelity: float = 1.0, seed: int = 0) -> Work:
        """Open `job` untrained, on the share `fidelity` of its training rows; `spec.data.rows` says how many."""

    @abstractmethod
    def predict(self, work: Work, x: np.ndarray) -> np.ndarray:
        """Answer `x` (N, ...) with what the model gives: logits, probabilities (N, C) or values (N,)."""

    @abstractmethod
    def table(self, work: Work) -> tuple[Op, ...]:
        """Count the real model, operator by operator."""

    @abstractmethod
    def export(self, work: Work, format: str) -> Artifact:  # ruff: ignore[builtin-argument-shadowing] - the artifact's own word
        """Write the model as an artifact of `format`; raises `BadInputError` for a format it cannot write."""


def first_share(y: np.ndarray, share: float, task: Task) -> np.ndarray:
    """The indices of the first `share` of rows, ascending; of every class, if there are classes.

    At least one row of each class is taken, so that a model on a small share still knows all its answers. Shares
    are nested: the rows of a smaller share are among those of a larger one.
    """
    if task is not Task.CLASSIFY or y.ndim != 1:
        return np.arange(max(1, round(share * len(y))))
    takes = []
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        takes.append(rows[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(takes))
