"""The space in which a score falls like the shapes do: logarithms of losses and of errors, or the score itself."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROOM = 0.01  # added to an error, whose logarithm would otherwise run away at the last few wrong answers
_HUGE = 700.0


class Space(Enum):
    """Where curves are fitted; all of them fall as training goes well."""

    LOSS = "loss"  # above zero: its logarithm falls
    SHARE = "share"  # between 0 and 1, more is better: the logarithm of what is missing falls
    FALLS = "falls"  # the score itself falls
    RISES = "rises"  # the score itself rises

    @classmethod
    def of(cls, scores: Floats, *, rises: bool) -> Space:
        """The space for such scores."""
        if rises:
            return cls.SHARE if scores.min(initial=0.0) >= 0 and scores.max(initial=0.0) <= 1 else cls.RISES
        return cls.LOSS if scores.size and scores.min() > 0 else cls.FALLS

    def holds(self, scores: Floats) -> bool:
        """Whether these scores have a place in this space."""
        if self is Space.SHARE:
            return bool((scores >= 0).all() and (scores <= 1).all())
        return self is not Space.LOSS or bool((scores > 0).all())

    def inward(self, scores: Floats) -> Floats:
        """Scores as what falls."""
        if self is Space.LOSS:
            return np.log(scores)
        if self is Space.SHARE:
            return np.log(1 + _ROOM - scores)
        return -scores if self is Space.RISES else scores

    def outward(self, values: Floats) -> Floats:
        """What falls as scores."""
        if self is Space.LOSS:
            return np.exp(np.minimum(values, _HUGE))
        if self is Space.SHARE:
            return np.clip(1 + _ROOM - np.exp(np.minimum(values, _HUGE)), 0.0, 1.0)
        return -values if self is Space.RISES else values

    def step(self, scores: Floats) -> Floats:
        """How much a score changes per unit of what falls, in size: turns standard errors inward when divided by."""
        if self is Space.LOSS:
            return scores
        return 1 + _ROOM - scores if self is Space.SHARE else np.ones_like(scores)
