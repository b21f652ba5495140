"""Guesses of how texts go on, cheaper than the model that is asked: it reads several at once, and says which are right.

Guessing from the text itself is prompt lookup (Saxena 2023), as Yang et al. 2023 (arXiv 2304.04487) have it for texts
that repeat what they were given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_LONGEST, _SHORTEST = 4, 2  # tokens that must have been there before


class Chooser(Protocol):
    """How the tokens of one text are drawn."""

    def guess(self, logits: NDArray[np.float32]) -> tuple[int, NDArray[np.float64] | None]:
        """A token for logits (V,), and the chances (V,) that it was drawn from; None if it was not left to chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A text that goes on: its prompt (T,), the tokens `made` since, at least one, and how many guesses are wanted.

    It is the same `key` in every turn, and nobody else's.
    """

    key: object
    prompt: NDArray[np.int64]
    made: Sequence[int]
    wanted: int
    chooser: Chooser


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """Tokens that may come next, and what each was drawn from; no `chances` where nothing was left to chance."""

    tokens: list[int] = field(default_factory=list)
    chances: list[NDArray[np.float64]] = field(default_factory=list)


class Draft(ABC):
    """Guesses how texts go on; what it remembers of them follows from the texts of each turn."""

    free: bool = False
    """Whether a guess costs next to nothing."""

    @abstractmethod
    def guess(self, texts: Sequence[Begun]) -> list[Guess]:
        """For each of all texts that go on at most as many tokens as are wanted."""

    @abstractmethod
    def drop(self) -> None:
        """Remember nothing."""


@final
class NgramDraft(Draft):
    """Says what followed the last time when the text had the last few tokens before."""

    free = True

    def __init__(self) -> None:
        self._known: dict[object, _Known] = {}

    def guess(self, texts: Sequence[Begun]) -> list[Guess]:
        """As promised."""
        self._known = {each.key: self._known.get(each.key) or _Known(each.prompt.tolist()) for each in texts}
        return [Guess(self._known[each.key].next(each)) for each in texts]

    def drop(self) -> None:
        """As promised."""
        self._known = {}


@final
class _Known:
    """A text, and where each few tokens of it came last, but for those at its end."""

    def __init__(self, prompt: list[int]) -> None:
        self._prompt, self._tokens = len(prompt), prompt
        self._ends: dict[tuple[int, ...], int] = {}
        self._seen = 0

    def next(self, text: Begun) -> list[int]:
        """What may follow, if the end of the text was there before; a text that runs in circles goes on doing so."""
        self._tokens += text.made[len(self._tokens) - self._prompt :]
        tokens, end = self._tokens, len(self._tokens)
        for at in range(self._seen + 1, end):
            for size in range(_SHORTEST, min(_LONGEST, at) + 1):
                self._ends[tuple(tokens[at - size : at])] = at
        self._seen = max(self._seen, end - 1)
        lasts = (tuple(tokens[end - size :]) for size in range(min(_LONGEST, end), _SHORTEST - 1, -1))
        begin = next((self._ends[last] for last in lasts if last in self._ends), end)
        return [tokens[begin + step % (end - begin)] for step in range(text.wanted)] if begin < end else []
