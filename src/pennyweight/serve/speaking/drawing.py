"""Which token follows: the likeliest, or one drawn by chance, the same again for the same seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LOST = -1
"""In place of a token, where a model says nothing that means anything."""
_LEAST = 1e-4  # a temperature below it would overflow, and is the likeliest token anyway


@final
@dataclass(slots=True, eq=False)
class Draw:
    """How the tokens of one text are drawn: of the likeliest that together have `top_p`, at a temperature; 0 is none.

    Without a seed each text has chances of its own. `top_p` is nucleus sampling (Holtzman et al. 2020).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    _chance: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Begin at the seed."""
        self._chance = np.random.default_rng(self.seed)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < _LEAST

    def of(self, logits: NDArray[np.float32]) -> int:
        """A token, from logits (V,)."""
        if self.greedy:
            return int(logits.argmax())
        chance = self._weights(logits)
        if self.top_p >= 1:
            return self.among(chance)
        few = self._few(chance)
        return int(few[self.among(chance[few])])

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """By what chances (V,), which add up to 1, `of` draws from logits (V,) where it is not `greedy`."""
        chance = self._weights(logits)
        if self.top_p < 1:
            few = self._few(chance)
            left = chance[few]
            chance[:] = 0.0
            chance[few] = left
        chance /= chance.sum()
        return chance

    def guess(self, logits: NDArray[np.float32]) -> tuple[int, NDArray[np.float64] | None]:
        """A token that may come next, by the logits (V,) of another model, and what it was drawn from, if it was.

        With a seed it is the likeliest, for then the text must be the same as without guesses.
        """
        if self.greedy or self.seed is not None:
            return int(logits.argmax()), None
        chance = self.chances(logits)
        return self.among(chance), chance

    def lot(self) -> float:
        """A number in [0, 1)."""
        return self._chance.random()

    def among(self, chance: NDArray[np.float64]) -> int:
        """One of chances (N,), which need not add up to 1."""
        return _drawn(chance, self.lot())

    def _weights(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        wide = logits.astype(np.float64) / self.temperature
        found: NDArray[np.float64] = np.exp(wide - wide.max())
        return found

    def _few(self, chance: NDArray[np.float64]) -> NDArray[np.intp]:
        """The likeliest that together have `top_p`."""
        order = np.argsort(-chance, kind="stable")
        sums = np.cumsum(chance[order])
        found: NDArray[np.intp] = order[: int(np.searchsorted(sums, self.top_p * sums[-1])) + 1]
        return found


def drawn(logits: NDArray[np.float32], draws: Sequence[Draw]) -> NDArray[np.int64]:
    """The next token (B,) of each text, from logits (B, V); `LOST` where they are no numbers."""
    found: NDArray[np.int64] = logits.argmax(axis=1)
    sound = np.isfinite(logits[np.arange(len(found)), found])  # the largest is what is no number, if anything is
    for row, draw in enumerate(draws):
        if not draw.greedy and sound[row]:
            found[row] = draw.of(logits[row])
    found[~sound] = LOST
    return found


def _drawn(chance: NDArray[np.float64], lot: float) -> int:
    """Where a lot in [0, 1) falls among chances (N,) that need not add up to 1."""
    sums = np.cumsum(chance)
    return min(int(np.searchsorted(sums, lot * sums[-1], side="right")), len(chance) - 1)
