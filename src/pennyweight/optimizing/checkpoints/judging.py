"""What was seen of a candidate beside the original: by how much its perplexity rises, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.evals import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.core import Floor

HOPELESS, CLEAR = -1.0, 3.0  # standard errors between a candidate and the floor
_EARLY = 0.99
_MOST_LOG = 700.0  # of which the exponential is still a number


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """The share by which perplexity rises on `tokens`, with a 95% interval; `whole` if all that selects was read.

    `sureness` is how many standard errors the candidate clears the floor by; `perplexity` is its own.
    """

    rise: float
    low: float
    high: float
    sureness: float
    perplexity: float
    tokens: int
    whole: bool

    @property
    def hopeful(self) -> bool:
        """Whether it may keep the floor."""
        return self.whole and self.sureness >= HOPELESS

    @property
    def clear(self) -> bool:
        """Whether there is hardly a doubt that it keeps the floor."""
        return self.whole and self.sureness >= CLEAR


def seen(losses: tuple[NDArray[Any], NDArray[Any]], owners: NDArray[Any], floor: Floor, *, whole: bool) -> Seen:
    """Judge the losses (N,) of the original and of a candidate, in documents `owners` (N,)."""
    apart, limit = losses[1] - losses[0], math.log1p(floor.amount)
    mean = float(apart.mean())
    low, high = blocks.interval(apart, owners)
    if whole:
        test = blocks.at_most(apart, limit, owners, floor.confidence)
        sureness = test.effect / test.se if test.se else math.copysign(math.inf, test.effect)
    else:
        sureness = math.copysign(math.inf, limit - mean)
    perplexity = grown(float(losses[1].mean()))
    return Seen(grown(mean) - 1, grown(low) - 1, grown(high) - 1, sureness, perplexity, len(apart), whole)


def far_beyond(losses: tuple[NDArray[Any], NDArray[Any]], owners: NDArray[Any], floor: Floor) -> bool:
    """Whether the opening alone says that the floor is broken, surely enough to read no further."""
    low, _ = blocks.interval(losses[1] - losses[0], owners, _EARLY)
    return low > math.log1p(floor.amount)


def grown(log: float) -> float:
    """The exponential, of what is too large the largest."""
    return math.exp(min(log, _MOST_LOG))
