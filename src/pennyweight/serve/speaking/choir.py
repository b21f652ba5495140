"""Continuous batching: the texts of one model take every step together; who comes joins, who is done leaves."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.serve.answering.lane import INLINE_S
from pennyweight.serve.answering.pace import Pace
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.speaking.drawing import LOST
from pennyweight.serve.speaking.part import Part, Wanted
from pennyweight.serve.speaking.turning import Long, Turn, sung

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pennyweight.runtimes.chorus import Chorus
    from pennyweight.runtimes.tokens import Tokenizer
    from pennyweight.serve.speaking.guessing import Guessing
    from pennyweight.serve.speaking.turning import Found

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How texts are taken: so many at once, prompt tokens (padded) read in a turn, and so many waiting at most.

    A longer prompt is read part by part, if the model can, while the others go on. One waits for at most `patience_s`
    and is made for at most `longest_s`. A turn that takes less than `inline_s` is computed where requests are read.
    """

    most_texts: int = 32
    most_read: int = 512
    most_waiting: int = 1024
    patience_s: float = 10.0
    longest_s: float = 120.0
    inline_s: float = INLINE_S


@final
@dataclass(slots=True, eq=False)
class Choir:
    """The texts that one loaded language model continues, in the event loop that made it; `pool` computes.

    `made` counts all tokens, `steps` the steps that made them; `guessing` lets a step make several, and of those that
    were `guessed` so many were `right`.
    """

    chorus: Chorus
    tokenizer: Tokenizer
    pool: Executor
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    reading: Pace = field(default_factory=lambda: Pace(1e-4))
    guessing: Guessing | None = None
    made: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    guessed: int = field(default=0, init=False)
    right: int = field(default=0, init=False)
    _line: deque[Part] = field(default_factory=deque, init=False)
    _now: list[Part] = field(default_factory=list, init=False)
    _long: Long | None = field(default=None, init=False)
    _memory: Any = field(default=None, init=False)
    _busy: bool = field(default=False, init=False)

    @property
    def waiting(self) -> int:
        """How many texts wait for their turn."""
        return len(self._line)

    @property
    def running(self) -> int:
        """How many texts are being read or continued."""
        return len(self._now) + (self._long is not None)

    def expected_ns(self, prompt: int, most: int) -> int:
        """What a text will compute: its reading, and its share of so many steps among those that run now."""
        others = max(1, min(self.running + len(self._line) + 1, self.limits.most_texts))
        return int(_NS * (self.reading.expected_s(prompt) + most * self.pace.expected_s(others) / others))

    def begin(self, wanted: Wanted) -> Part:
        """A text that will be continued; raises `RefusedError` (429) if it would begin too late."""
        wait_s = self._wait_s()
        if wait_s > self.limits.patience_s or len(self._line) >= self.limits.most_waiting:
            raise RefusedError(429, "Too many requests wait.", retry_s=max(1.0, wait_s))
        part = Part(wanted, self.tokenizer)
        self._line.append(part)
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._turn)
        return part

    def _wait_s(self) -> float:
        """Seconds until one who comes now would begin, if everybody takes all tokens that were asked for."""
        most = self.limits.most_texts
        if self.running + len(self._line) < most:
            return 0.0
        left = sum(each.wanted.most - len(each.made) for each in self._now if not each.reason)
        left += sum(each.wanted.most for each in self._line if not each.reason)
        whole_s = left / most * self.pace.expected_s(most)
        return whole_s * (len(self._line) + 1) / (len(self._line) + most)  # places come free all the while

    def _turn(self) -> None:
        """Take one turn, here or in the pool, then the next."""
        turn = self._next()
        if turn is None:
            self._rested()
            return
        loop = asyncio.get_running_loop()
        self._now, self._long = turn.sings, None if turn.whole else turn.long
        for part in turn.reads:
            part.begun = True
        soon_s = self.pace.expected_s(len(self._now)) if self._now else 0.0
        soon_s += self.reading.expected_s(turn.size) if turn.reads else 0.0
        if self.guessing is None and soon_s < self.limits.inline_s:
            self._came(turn, sung(self.chorus, turn))
            loop.call_soon(self._turn)
            return
        task = loop.run_in_executor(self.pool, sung, self.chorus, turn)
        task.add_done_callback(partial(self._done, turn))

    def _rested(self) -> None:
        """Nobody is left: remember nothing."""
        self._busy, self._now, self._memory = False, [], None
        if self.guessing is not None:
            self.guessing.draft.drop()

    def _done(self, turn: Turn, found: asyncio.Future[Found | Exception]) -> None:
        self._came(turn, found.result())
        self._turn()

    def _next(self) -> Turn | None:
        """Who goes on, who joins and who is read; None if nobody is."""
        late_s = time.monotonic() - self.limits.longest_s
        for part in self._now:
            if part.since_s < late_s:
                part.end("length")
        if self._long is not None and self._long.part.since_s < late_s:
            self._long.part.end("length")
        if self._long is not None and self._long.part.reason:
            self._long = None
        rows = [row for row, part in enumerate(self._now) if not part.reason]
        stay = [self._now[row] for row in rows]
        fresh = self._joining(self.limits.most_texts - len(stay)) if self._long is None else []
        if not (stay or fresh or self._long):
            return None
        last = np.array([part.made[-1] for part in stay], np.int64)
        end = self._long.read + self.limits.most_read if self._long else 0
        same = len(rows) == len(self._now)
        return Turn(self._memory, rows, stay, fresh, last, same, self._long, end, self.guessing)

    def _joining(self, room: int) -> list[Part]:
        """The first that wait, as many as there is room for and as are read in one turn; or a long one alone."""
        found: list[Part] = []
        longest, late_s = 0, time.monotonic() - self.limits.patience_s
        all_ = [_size(each) for each in self._now if not each.reason] if self._line else []
        while self._line and len(found) < room:
            part = self._line[0]
            longest = max(longest, len(part.wanted.prompt))
            if (found and longest * (len(found) + 1) > self.limits.most_read) or not self._fit([*all_, _size(part)]):
                break
            self._line.popleft()
            if part.since_s < late_s:
                part.end("failed", RefusedError(429, "The request waited for too long.", retry_s=1.0))
            if part.reason:
                continue
            if self.chorus.bites and len(part.wanted.prompt) > self.limits.most_read:
                self._long = Long(part)
                break
            found.append(part)
            all_.append(_size(part))
        return found

    def _fit(self, sizes: list[int]) -> bool:
        """Whether the model has room for texts of so many tokens, which are all that were asked for."""
        if not self.chorus.room:
            return True
        return (len(sizes) * max(sizes) if self.chorus.pads else sum(sizes)) <= self.chorus.room

    def _came(self, turn: Turn, found: Found | Exception) -> None:
        if isinstance(found, Exception):
            self._memory, self._long = None, None
            for part in (*turn.sings, *turn.reads):
                _fail(part)
            return
        for part in found.lost:
            _fail(part)
        self._memory, self._long = found.memory, found.long
        self._learn(turn, found)
        for part in turn.reads:
            part.compute_ns += found.read_ns * (turn.size if turn.long else len(part.wanted.prompt)) // turn.size
            part.felt_ns += found.read_ns
        for part, token in zip(turn.joins, found.first.tolist(), strict=False):
            _put(part, token)
        self._now = turn.stay if found.lost else turn.sings
        guessed = found.guessed or [0] * len(self._now)
        read = len(self._now) + sum(guessed)
        for part, tokens, count in zip(self._now, found.tokens, guessed, strict=True):
            if part.reason:
                self.made += 1  # for nobody
                continue
            part.compute_ns += found.step_ns * (1 + count) // read
            part.felt_ns += found.step_ns
            self._went_on(part, tokens, count)

    def _went_on(self, part: Part, tokens: list[int], guessed: int) -> None:
        """Put the next tokens into a text, as far as it goes: guesses that hold, and one more."""
        before, hold = len(part.made), len(tokens) - 1
        for token in tokens:
            _put(part, token)
        made = len(part.made) - before
        self.made += made
        if guessed:
            part.luck.saw(hold, guessed)
            part.guessed += guessed
            part.right += min(made, hold)
            self.guessed += guessed
            self.right += min(made, hold)

    def _learn(self, turn: Turn, found: Found) -> None:
        self.made += len(found.first)
        if found.tokens:
            self.steps += 1
            texts, tokens = len(found.tokens), sum(map(len, found.tokens))
            self.pace.saw(texts, found.step_ns / _NS * texts / tokens)  # of one more token each
        if turn.reads and not found.lost:
            self.reading.saw(turn.size, found.read_ns / _NS)


def _size(part: Part) -> int:
    """How many tokens a text has in the end, at most."""
    return len(part.wanted.prompt) + part.wanted.most


def _put(part: Part, token: int) -> None:
    if token == LOST:
        _fail(part)
    else:
        part.put(token)


def _fail(part: Part) -> None:
    part.end("failed", RefusedError(500, "The model failed."))
