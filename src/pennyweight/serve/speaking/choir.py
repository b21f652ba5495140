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
from pennyweight.serve.speaking.drawing import drawn
from pennyweight.serve.speaking.part import Part, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from pennyweight.runtimes.chorus import Chorus
    from pennyweight.runtimes.tokens import Tokenizer

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How texts are taken: so many at once, prompt tokens (padded) read in a turn, and so many waiting at most.

    One waits for at most `patience_s` and is made for at most `longest_s`. A turn that takes less than `inline_s` is
    computed where requests are read.
    """

    most_texts: int = 32
    most_read: int = 1024
    most_waiting: int = 1024
    patience_s: float = 10.0
    longest_s: float = 120.0
    inline_s: float = INLINE_S


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """What one turn computes: read `fresh` texts, let them join the `rows` that stay of a memory, and take a step."""

    memory: Any
    rows: Sequence[int]
    stay: list[Part]
    fresh: list[Part]
    last: NDArray[np.int64]
    same: bool  # nobody left since the last turn


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """First tokens of who was fresh, the next tokens of all, their memory, and how long reading and the step took."""

    first: NDArray[np.int64]
    tokens: NDArray[np.int64]
    memory: Any
    read_ns: int
    step_ns: int


@final
@dataclass(slots=True, eq=False)
class Choir:
    """The texts that one loaded language model continues, in the event loop that made it; `pool` computes.

    `made` counts all tokens, `steps` the steps that made them.
    """

    chorus: Chorus
    tokenizer: Tokenizer
    pool: Executor
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=Pace)
    reading: Pace = field(default_factory=lambda: Pace(1e-4))
    made: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)
    _line: deque[Part] = field(default_factory=deque, init=False)
    _now: list[Part] = field(default_factory=list, init=False)
    _memory: Any = field(default=None, init=False)
    _busy: bool = field(default=False, init=False)

    @property
    def waiting(self) -> int:
        """How many texts wait for their turn."""
        return len(self._line)

    @property
    def running(self) -> int:
        """How many texts are being continued."""
        return len(self._now)

    def expected_ns(self, prompt: int, most: int) -> int:
        """What a text will compute: its reading, and its share of so many steps among those that run now."""
        others = max(1, min(len(self._now) + len(self._line) + 1, self.limits.most_texts))
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
        if len(self._now) + len(self._line) < most:
            return 0.0
        left = sum(each.wanted.most - len(each.made) for each in self._now if not each.reason)
        left += sum(each.wanted.most for each in self._line if not each.reason)
        whole_s = left / most * self.pace.expected_s(most)
        return whole_s * (len(self._line) + 1) / (len(self._line) + most)  # places come free all the while

    def _turn(self) -> None:
        """Take one turn, here or in the pool, then the next."""
        turn = self._next()
        if turn is None:
            self._busy, self._now, self._memory = False, [], None
            return
        loop = asyncio.get_running_loop()
        read = sum(len(each.wanted.prompt) for each in turn.fresh)
        count = len(turn.stay) + len(turn.fresh)
        self._now = [*turn.stay, *turn.fresh]
        for part in turn.fresh:
            part.begun = True
        if self.pace.expected_s(count) + (self.reading.expected_s(read) if read else 0.0) < self.limits.inline_s:
            self._came(turn, _sung(self.chorus, turn))
            loop.call_soon(self._turn)
            return
        task = loop.run_in_executor(self.pool, _sung, self.chorus, turn)
        task.add_done_callback(partial(self._done, turn))

    def _done(self, turn: _Turn, found: asyncio.Future[_Found | Exception]) -> None:
        self._came(turn, found.result())
        self._turn()

    def _next(self) -> _Turn | None:
        """Who goes on and who joins; None if nobody does."""
        late_s = time.monotonic() - self.limits.longest_s
        for part in self._now:
            if part.since_s < late_s:
                part.end("length")
        rows = [row for row, part in enumerate(self._now) if not part.reason]
        stay = [self._now[row] for row in rows]
        fresh = self._joining(self.limits.most_texts - len(stay))
        if not stay and not fresh:
            return None
        last = np.array([part.made[-1] for part in stay], np.int64)
        return _Turn(self._memory, rows, stay, fresh, last, same=len(rows) == len(self._now))

    def _joining(self, room: int) -> list[Part]:
        """The first that wait, as many as there is room for and as are read in one turn."""
        found: list[Part] = []
        longest, late_s = 0, time.monotonic() - self.limits.patience_s
        while self._line and len(found) < room:
            part = self._line[0]
            longest = max(longest, len(part.wanted.prompt))
            if found and longest * (len(found) + 1) > self.limits.most_read:
                break
            self._line.popleft()
            if part.since_s < late_s:
                part.end("failed", RefusedError(429, "The request waited for too long.", retry_s=1.0))
            if not part.reason:
                found.append(part)
        return found

    def _came(self, turn: _Turn, found: _Found | Exception) -> None:
        everyone = [*turn.stay, *turn.fresh]
        if isinstance(found, Exception):
            self._memory = None
            for part in everyone:
                part.end("failed", RefusedError(500, "The model failed."))
            return
        self._memory = found.memory
        self._learn(turn, found)
        share_ns = found.step_ns // len(everyone)
        read = sum(len(each.wanted.prompt) for each in turn.fresh)
        for part, token in zip(turn.fresh, found.first.tolist(), strict=True):
            part.compute_ns += found.read_ns * len(part.wanted.prompt) // read
            part.put(token)
        for part, token in zip(everyone, found.tokens.tolist(), strict=True):
            if not part.reason:
                part.compute_ns += share_ns
                part.put(token)

    def _learn(self, turn: _Turn, found: _Found) -> None:
        self.steps += 1
        self.made += len(turn.stay) + 2 * len(turn.fresh)
        self.pace.saw(len(turn.stay) + len(turn.fresh), found.step_ns / _NS)
        if turn.fresh:
            self.reading.saw(sum(len(each.wanted.prompt) for each in turn.fresh), found.read_ns / _NS)


def _sung(chorus: Chorus, turn: _Turn) -> _Found | Exception:
    """One turn; whatever a model raises is given back, for it happens in a thread that others need."""
    try:
        return _taken(chorus, turn)
    except Exception as error:  # ruff: ignore[blind-except] - whatever a model raises is told to who asked
        return error


def _taken(chorus: Chorus, turn: _Turn) -> _Found:
    begin_ns = time.perf_counter_ns()
    memory, first = turn.memory, np.empty(0, np.int64)
    if turn.fresh:
        logits, fresh = chorus.prefill([each.wanted.prompt for each in turn.fresh])
        first = drawn(logits, [each.wanted.draw for each in turn.fresh])
        parts = [(memory, turn.rows)] if turn.rows else []
        memory = chorus.gather([*parts, (fresh, range(len(turn.fresh)))]) if parts else fresh
    elif not turn.same:
        memory = chorus.gather([(memory, turn.rows)])
    read_ns = time.perf_counter_ns()
    logits, memory = chorus.step(np.concatenate([turn.last, first]), memory)
    tokens = drawn(logits, [each.wanted.draw for each in (*turn.stay, *turn.fresh)])
    return _Found(first, tokens, memory, read_ns - begin_ns, time.perf_counter_ns() - read_ns)
