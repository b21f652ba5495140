"""How often the guesses of one text held of late, which says whether the next is worth its reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

_FADE = 0.9  # what a guess still counts after the next one
_FIRST = 0.7  # the share that holds, of a text of which nothing is known
_LEAST, _SUREST = 0.02, 0.98


@final
@dataclass(slots=True, eq=False)
class Luck:
    """How often the guesses of one text held of late."""

    right: float = _FIRST
    tried: float = 1.0
    idle: int = 0

    def saw(self, right: int, guessed: int) -> None:
        """Learn that of so many guesses in a row the first `right` held; those after a wrong one say nothing."""
        tried = min(guessed, right + 1)
        self.right = _FADE**tried * self.right + right
        self.tried = _FADE**tried * self.tried + tried

    @property
    def share(self) -> float:
        """The chance that a guess holds where those before it did."""
        return min(max(self.right / self.tried, _LEAST), _SUREST)
