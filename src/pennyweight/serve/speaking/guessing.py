"""How many tokens of each text are guessed, and whether that pays: a guess must be worth more than reading it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.runtimes.guessing import Begun, Guess
from pennyweight.serve.answering.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.runtimes.guessing import Draft
    from pennyweight.serve.speaking.part import Part

MOST = 8
"""Guesses of one text in a turn, where nobody says how many."""
_START = 4  # of them, while nobody knows what one costs
_AGAIN = 16  # turns after which a text that is not guessed at is tried again, and a draft that failed too
_NONE = Guess()


@final
@dataclass(slots=True, eq=False)
class Guessing:
    """A draft, and how it is used: `fixed` guesses of every text in a turn, or if that is 0 as many as pay."""

    draft: Draft
    fixed: int = 0
    reading: Pace = field(default_factory=Pace, init=False)  # seconds of a step by the tokens that are read
    drafting: Pace = field(default_factory=Pace, init=False)  # seconds by the tokens that are guessed
    _rest: int = field(default=0, init=False)

    def guess(self, parts: Sequence[Part], made: Sequence[Sequence[int]]) -> list[Guess]:
        """What may come next in each text, of which so much was `made`; nothing where the draft fails."""
        if self._rest:
            self._rest -= 1
            return [_NONE] * len(parts)
        counts = [self._count(part, len(each), len(parts)) for part, each in zip(parts, made, strict=True)]
        if not any(counts):
            return [_NONE] * len(parts)
        asked = [
            Begun(part, part.wanted.prompt, each, count, part.wanted.draw)
            for part, each, count in zip(parts, made, counts, strict=True)
        ]
        begin_s = time.perf_counter()
        try:
            found = self.draft.guess(asked)
        except Exception:  # ruff: ignore[blind-except] - whatever a draft raises, the model itself goes on without it
            self.draft.drop()
            self._rest = _AGAIN
            return [_NONE] * len(parts)
        self.drafting.saw(max(1, sum(len(each.tokens) for each in found)), time.perf_counter() - begin_s)
        return found

    def _count(self, part: Part, made: int, texts: int) -> int:
        """How many guesses a text may have now: none beyond its last token but one, which the model says itself."""
        left = part.wanted.most - made - 1
        if left <= 0 or part.reason:
            return 0
        if self.fixed:
            return min(self.fixed, left)
        count = self._paying(part.luck.share, texts)
        part.luck.idle = 0 if count else part.luck.idle + 1
        return min(count or int(part.luck.idle % _AGAIN == 0), left)

    def _paying(self, share: float, texts: int) -> int:
        """The most guesses of which the last is still worth its reading: `share` to that power of a token."""
        token_s = self.reading.expected_s(texts) / texts
        more_s = self.reading.line[1]
        if not self.draft.free and self.drafting.rows:
            more_s += self.drafting.seconds / self.drafting.rows
        if more_s <= 0 or token_s <= 0:
            return _START
        return max(0, min(MOST, int(math.log(more_s / token_s) / math.log(share))))
