"""A sample of data that a model was not trained on, recorded with it: what it is asked is compared with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Task
from pennyweight.engine.answers import answer, open_session
from pennyweight.serve.watch.reference import LEAST_ROWS, Reference, flat, narrow, with_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Artifact, Job

MOST_ROWS = 1000
MOST_BYTE = 4 * 2**20
"""Of the sample's inputs."""


def with_sample(artifact: Artifact, job: Job, seed: int = 0) -> Artifact:
    """The artifact with rows of the job's select split, what it answers to them and what would have been right.

    As it is if there are fewer than `LEAST_ROWS`, or for a language model. The certify split is not touched.
    """
    select = job.material.splits.select
    drawn = _drawn(select.x, seed)
    if job.spec.data.task is Task.LANGUAGE or len(drawn) < LEAST_ROWS:
        return artifact
    rows, labels = np.asarray(select.x)[drawn], np.asarray(select.y)[drawn]
    answers = answer(open_session(artifact), artifact, rows)
    found = Reference.of(rows, answers.astype(np.float32), labels)
    return with_reference(artifact, Reference(_small(found.rows), found.answers, _small(labels)))


def _drawn(x: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Which rows: as many as there may be, in their order."""
    row_byte = 4 * narrow(flat(x[:1])).shape[1]
    count = min(len(x), MOST_ROWS, MOST_BYTE // max(row_byte, 1))
    return np.sort(np.random.default_rng(seed).permutation(len(x))[:count])


def _small(x: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as they are, others in single precision."""
    return x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32)
