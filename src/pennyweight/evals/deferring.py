"""How sure a cheap model must be to answer alone, so that right answers are not lost: risk control on one split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.core import Floor, Slack
from pennyweight.evals.paired import p_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

LADDER = (
    *(0.99999, 0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.95, 0.94, 0.92, 0.9),
    *(0.88, 0.86, 0.84, 0.82, 0.8, 0.78, 0.76, 0.74, 0.72, 0.7, 0.65, 0.6, 0.55, 0.5),
)
"""Thresholds in the order in which they are tested: the strictest first, chosen before any data is seen.

Below a half, an answer may be wrong more often than right."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """Rows whose largest probability is below `threshold` go up: the `share` of those seen. The test's `p_value`."""

    threshold: float
    share: float
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """True classes `y` (N,), and what the `quick` and the `dear` model answer, probabilities or logits (N, C)."""

    y: NDArray[Any]
    quick: NDArray[Any]
    dear: NDArray[Any]
    groups: NDArray[Any] | None = None


def defer(rows: Rows, give_up: float, confidence: float, *, logits: bool) -> Deferral | None:
    """The least threshold at which no more than `give_up` of the right answers of the dear model are lost.

    Thresholds are tested from the strictest on, each at the level ``1 - confidence``, with the test that certifies
    floors, until the first that fails (fixed-sequence testing; Angelopoulos et al. 2021, Learn then Test). So the
    chance that the threshold found loses more is at most that level. None if not even the strictest passes.
    """
    floor = Floor("accuracy", give_up, Slack.POINTS, confidence)
    sure, found = sureness(rows.quick, logits=logits), None
    for threshold in LADDER:
        stays = sure >= np.float32(threshold)
        answers = np.where(stays[:, None], rows.quick, rows.dear)
        test = p_value(floor, rows.y, answers, rows.dear, rows.groups)
        if test.p_value > 1 - confidence:
            break
        found = Deferral(threshold, float(1 - stays.mean()), test.p_value)
    return found


def sureness(answers: NDArray[Any], *, logits: bool) -> NDArray[np.float32]:
    """The largest probability of each row (N,) of `answers` (N, C)."""
    wide = answers.astype(np.float32)
    if logits:
        wide = np.exp(wide - wide.max(axis=1, keepdims=True))
        wide /= wide.sum(axis=1, keepdims=True)
    top: NDArray[np.float32] = wide.max(axis=1)
    return top
