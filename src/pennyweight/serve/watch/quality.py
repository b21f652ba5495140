"""How good a version is by the labels that came so far, beside its floor, whenever one looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pennyweight.serve.watch.bets import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.store.team.labels import Labelled

State = Literal["holds", "broken", "unsure"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The share of right answers among `n` whose label came, an interval for it, and where the floor is."""

    n: int
    mean: float
    low: float
    high: float
    floor: float

    @property
    def state(self) -> State:
        """Whether the floor holds, is broken, or neither is sure."""
        if self.low >= self.floor:
            return "holds"
        return "broken" if self.high < self.floor else "unsure"


def right(labelled: Sequence[Labelled], near: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 for each answer that was right, 0 for the others: the class, or a value within `near` of the label."""
    return np.array([float(abs(each.said - each.label) <= near) for each in labelled], dtype=np.float64)


def standing(labelled: Sequence[Labelled], floor: float, alpha: float = 0.05, near: float = 0.0) -> Standing:
    """Where a version stands; its interval holds at all moments at once (`bets.interval`), so one may look daily.

    It is about requests whose labels come: where only complaints are labelled, it says how good those are.
    """
    if not labelled:
        return Standing(0, float("nan"), 0.0, 1.0, floor)
    hits = right(labelled, near)
    low, high = interval(hits, alpha)
    return Standing(len(hits), float(hits.mean()), float(low[-1]), float(high[-1]), floor)
