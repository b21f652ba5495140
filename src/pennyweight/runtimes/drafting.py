"""A smaller model that guesses what a larger one will say: it reads what was made, and goes on by itself.

It is the drafting half of speculative decoding (Leviathan et al. 2023, arXiv 2211.17192).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import CorruptError
from pennyweight.runtimes.guessing import Draft, Guess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.runtimes.chorus import Checking
    from pennyweight.runtimes.guessing import Begun


@dataclass(slots=True, eq=False)
class _Row:
    """One text in the memory: which of the tokens after its prompt were read, guesses of the last turn among them."""

    key: object
    read: list[int] = field(default_factory=list)


@final
class ModelDraft(Draft):
    """Guesses by a model with the same tokens as the one that is asked, which tells `size` of them apart.

    Texts longer than its own context are not guessed at.
    """

    def __init__(self, chorus: Checking, size: int) -> None:
        self._chorus, self._size = chorus, size
        self._rows: list[_Row] = []
        self._memory: Any = None

    def guess(self, texts: Sequence[Begun]) -> list[Guess]:
        """As promised; all of them go on together, for as long as one of them is to."""
        most = max((each.wanted for each in texts), default=0)
        fit = [each for each in texts if len(each.prompt) + len(each.made) + most <= self._chorus.context]
        found = {id(each): Guess() for each in texts}
        if most and self._follow(fit):
            by_key = {id(each.key): each for each in fit}
            rows = [by_key[id(row.key)] for row in self._rows]
            self._go_on(rows, [found[id(each)] for each in rows], most)
        return [found[id(each)] for each in texts]

    def drop(self) -> None:
        """As promised."""
        self._rows, self._memory = [], None

    def _follow(self, texts: Sequence[Begun]) -> bool:
        """Let the memory hold these texts, of each what was guessed rightly; whether there are any."""
        by_key = {id(each.key): each for each in texts}
        stay = [at for at, row in enumerate(self._rows) if id(row.key) in by_key]
        parts: list[tuple[Any, Sequence[int]]] = []
        if stay:
            right = [_same(row, by_key.get(id(row.key))) for row in self._rows]
            counts = [len(row.read) - same for row, same in zip(self._rows, right, strict=True)]
            memory = self._chorus.forget(self._memory, counts)
            for row, same in zip(self._rows, right, strict=True):
                del row.read[same:]
            parts = [(memory, stay)]
        there = {id(row.key) for row in self._rows}
        fresh = [each for each in texts if id(each.key) not in there and each.wanted]
        if fresh:
            _, read = self._chorus.prefill([self._known(each.prompt) for each in fresh])
            parts.append((read, range(len(fresh))))
        rows = [self._rows[at] for at in stay] + [_Row(each.key) for each in fresh]
        if parts:
            whole = len(parts) == 1 and len(parts[0][1]) == (len(self._rows) if stay else len(fresh))
            self._memory = parts[0][0] if whole else self._chorus.gather(parts)
        self._rows = rows
        return bool(rows)

    def _go_on(self, texts: Sequence[Begun], guesses: Sequence[Guess], most: int) -> None:
        """Read what was made since, then guess token by token."""
        fresh = [np.array(each.made[len(row.read) :], np.int64) for row, each in zip(self._rows, texts, strict=True)]
        logits, self._memory = self._chorus.told([self._known(each) for each in fresh], self._memory)
        logits = logits[np.cumsum([len(each) for each in fresh]) - 1]
        for row, tokens in zip(self._rows, fresh, strict=True):
            row.read.extend(tokens.tolist())
        for step in range(most):
            if not np.isfinite(logits.max(axis=1)).all():
                raise CorruptError("The draft says nothing that means anything.", "use another draft.")
            tokens = logits[:, : self._size].argmax(axis=1)
            for at, (text, guess) in enumerate(zip(texts, guesses, strict=True)):
                if step < text.wanted:
                    tokens[at] = _guessed(logits[at, : self._size], text, guess)
            if step + 1 < most:
                logits, self._memory = self._chorus.step(tokens, self._memory)
                for row, token in zip(self._rows, tokens.tolist(), strict=True):
                    row.read.append(token)

    def _known(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same tokens, but for those that only the larger model tells apart: a guess may be wrong."""
        return np.minimum(tokens, self._size - 1)


def _same(row: _Row, text: Begun | None) -> int:
    """How many of the tokens that were read are those of the text; one of these is left to be read again."""
    if text is None:
        return len(row.read)
    pairs = zip(row.read, text.made[:-1], strict=False)
    return next((at for at, (mine, its) in enumerate(pairs) if mine != its), min(len(row.read), len(text.made) - 1))


def _guessed(logits: NDArray[np.float32], text: Begun, guess: Guess) -> int:
    token, chances = text.chooser.guess(logits)
    guess.tokens.append(token)
    if chances is not None:
        guess.chances.append(chances)
    return token
