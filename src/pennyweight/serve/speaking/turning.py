"""What one turn of a choir computes: read who is fresh, or a part of a long prompt, and take a step with all.

Where there are guesses of how a text goes on, they are read in the same step, and those that do not hold are forgotten.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.runtimes.chorus import Checking
from pennyweight.serve.speaking.accepting import accepted
from pennyweight.serve.speaking.drawing import drawn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.runtimes.chorus import Chorus, Next
    from pennyweight.runtimes.guessing import Guess
    from pennyweight.serve.speaking.guessing import Guessing
    from pennyweight.serve.speaking.part import Part

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Long:
    """A prompt that is read part by part: of its tokens `read` are in its `memory`."""

    part: Part
    memory: Any = None
    read: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Let `fresh` texts, or one whose `long` prompt is read to its `end`, join the `rows` that stay; take a step."""

    memory: Any
    rows: Sequence[int]
    stay: list[Part]
    fresh: list[Part]
    last: NDArray[np.int64]
    same: bool  # nobody left since the last turn
    long: Long | None = None
    end: int = 0
    guessing: Guessing | None = None

    @property
    def whole(self) -> bool:
        """Whether a long prompt is read to its end in this turn."""
        return self.long is not None and self.end >= len(self.long.part.wanted.prompt)

    @property
    def reads(self) -> list[Part]:
        """Whose prompts are read."""
        return self.fresh if self.long is None else [self.long.part]

    @property
    def joins(self) -> list[Part]:
        """Whose prompts are read to the end."""
        return self.reads if self.long is None or self.whole else []

    @property
    def sings(self) -> list[Part]:
        """Who takes the step."""
        return [*self.stay, *self.joins]

    @property
    def size(self) -> int:
        """How many tokens of prompts are read."""
        if self.long is None:
            return sum(len(each.wanted.prompt) for each in self.fresh)
        return min(self.end, len(self.long.part.wanted.prompt)) - self.long.read


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """First tokens of who joined, the next tokens of who took the step, their memory, and how long both took.

    `long` is a prompt that is not read to its end yet; `lost` are those that could not be read. Of each text that took
    the step so many tokens were `guessed`, and all but the last of its tokens are such.
    """

    first: NDArray[np.int64]
    tokens: list[list[int]]
    memory: Any
    read_ns: int
    step_ns: int
    long: Long | None = None
    lost: Sequence[Part] = ()
    guessed: Sequence[int] = ()


def sung(chorus: Chorus, turn: Turn) -> Found | Exception:
    """One turn; whatever a model raises is given back, for it happens in a thread that others need.

    If it cannot read who is fresh, those who were there before go on without them.
    """
    try:
        return _taken(chorus, turn)
    except Exception as error:  # ruff: ignore[blind-except] - whatever a model raises is told to who asked
        if not (turn.reads and turn.stay):
            return error
    found = sung(chorus, replace(turn, fresh=[], long=None))
    return replace(found, lost=turn.reads) if isinstance(found, Found) else found


def _taken(chorus: Chorus, turn: Turn) -> Found:
    begin_ns = time.perf_counter_ns()
    first, memory, long = _joined(chorus, turn)
    read_ns = time.perf_counter_ns()
    if not turn.sings:
        return Found(first, [], None, read_ns - begin_ns, 0, long)
    last = np.concatenate([turn.last, np.maximum(first, 0)])
    guesses = _guesses(turn, first)
    guessed, begun_ns = [len(each.tokens) for each in guesses], time.perf_counter_ns()
    if any(guessed) and isinstance(chorus, Checking):
        tokens, memory = _checked(chorus, turn, last, guesses, memory)
    else:
        logits, memory = chorus.step(last, memory)
        tokens = [[each] for each in drawn(logits, [each.wanted.draw for each in turn.sings]).tolist()]
    end_ns = time.perf_counter_ns()
    if turn.guessing is not None:
        turn.guessing.reading.saw(len(last) + sum(guessed), (end_ns - begun_ns) / 1e9)
    return Found(first, tokens, memory, read_ns - begin_ns, end_ns - read_ns, long, guessed=guessed)


def _guesses(turn: Turn, first: NDArray[np.int64]) -> list[Guess]:
    """What may come next in each text; nothing at all if nobody guesses."""
    if turn.guessing is None:
        return []
    made = [*(each.made for each in turn.stay), *([each] for each in first.tolist())]
    return turn.guessing.guess(turn.sings, made)


def _checked(
    chorus: Checking, turn: Turn, last: NDArray[np.int64], guesses: Sequence[Guess], memory: Any
) -> tuple[list[list[int]], Any]:
    """The tokens that come next, guesses that hold among them, and the memory without those that do not."""
    fed = [np.array([token, *guess.tokens], np.int64) for token, guess in zip(last.tolist(), guesses, strict=True)]
    logits, memory = chorus.told(fed, memory)
    rows = np.split(logits, np.cumsum([len(each) for each in fed])[:-1])
    draws = [each.wanted.draw for each in turn.sings]
    tokens = list(map(accepted, rows, guesses, draws))
    return tokens, chorus.forget(memory, [len(a) - len(b) for a, b in zip(fed, tokens, strict=True)])


def _joined(chorus: Chorus, turn: Turn) -> tuple[NDArray[np.int64], Any, Long | None]:
    """First tokens of who joins, the memory of all who take the step, and what is still to be read."""
    first, fresh, long = _NONE, None, turn.long
    if turn.reads:
        logits, fresh = _read(chorus, turn)
    if turn.joins:
        first, long = drawn(logits, [each.wanted.draw for each in turn.joins]), None
    elif long is not None:
        long = replace(long, memory=fresh, read=turn.end)
    if turn.same and not turn.joins:
        return first, turn.memory, long
    parts = [(turn.memory, turn.rows)] if turn.rows else []
    parts += [(fresh, range(len(turn.joins)))] if turn.joins else []
    memory = fresh if not turn.rows else chorus.gather(parts)
    return first, memory if turn.sings else None, long


def _read(chorus: Chorus, turn: Turn) -> Next:
    """Read who is fresh, or the next part of a long prompt."""
    if turn.long is None:
        return chorus.prefill([each.wanted.prompt for each in turn.fresh])
    tokens = turn.long.part.wanted.prompt[turn.long.read : turn.end]
    return chorus.read(tokens[None], turn.long.memory) if turn.long.read else chorus.prefill([tokens])
