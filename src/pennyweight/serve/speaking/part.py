"""One text that is being continued: what was asked, what was made of it so far, and why it ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.ending import Tail
from pennyweight.serve.speaking.luck import Luck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Literal

    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.runtimes.tokens import Pieces, Tokenizer
    from pennyweight.serve.refused import RefusedError

    Reason = Literal["", "stop", "length", "gone", "failed"]

_BEFORE = 16  # tokens of the prompt that can matter to how the next is written


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Continue `prompt` (T,) by at most `most` tokens, drawn as `draw` says, to one of the `stops`.

    What continues an answer to a `chat` begins a text of its own.
    """

    prompt: NDArray[np.int64]
    most: int
    draw: Draw = field(default_factory=Draw)
    stops: tuple[str, ...] = ()
    chat: bool = False


@final
@dataclass(slots=True, eq=False)
class Part:
    """A text on its way. It belongs to the event loop; tokens are put in by the choir, text is taken out by one reader.

    `made` are all tokens that were made of it and are paid for, those of a stop sequence included; `begun` says
    whether reading the prompt has begun. `compute_ns` is its share of what was computed, `felt_ns` all of what was
    computed while it was read and continued. So many tokens were `guessed` by a draft, of which `right` are among
    those made; `luck` is what that says about the next.
    """

    wanted: Wanted
    tokenizer: Tokenizer
    begun: bool = False
    made: list[int] = field(default_factory=list)
    reason: Reason = ""
    error: RefusedError | None = None
    compute_ns: int = 0
    felt_ns: int = 0
    guessed: int = 0
    right: int = 0
    luck: Luck = field(default_factory=Luck)
    since_s: float = field(default_factory=time.monotonic)
    _told: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _pieces: Pieces = field(init=False)
    _tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is told yet."""
        before = () if self.wanted.chat else self.wanted.prompt[-_BEFORE:].tolist()
        self._pieces, self._tail = self.tokenizer.pieces(before), Tail(self.wanted.stops)

    def put(self, token: int) -> None:
        """Add a token, unless the text has ended meanwhile."""
        if self.reason:
            return
        self.made.append(token)
        if token in self.tokenizer.ends:
            self.end("stop")
            return
        self._tell(self._tail.put(self._pieces.put(token)))
        if self._tail.stopped:
            self.end("stop")
        elif len(self.made) >= self.wanted.most:
            self.end("length")

    def end(self, reason: Reason, error: RefusedError | None = None) -> None:
        """Let it end now; the first reason stays."""
        if self.reason:
            return
        self.reason, self.error = reason, error
        if reason in {"stop", "length"}:
            self._tell(self._tail.put(self._pieces.end()))
            self._tell(self._tail.end())
        self._over.set()
        self._news.set()

    async def over(self) -> None:
        """Wait until it has ended."""
        await self._over.wait()

    async def texts(self) -> AsyncIterator[str]:
        """The text as it comes, in pieces that are not empty; raises what went wrong."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._told:
                text = "".join(self._told)
                self._told.clear()
                yield text
            if self.error is not None:
                raise self.error
            if self.reason and not self._told:
                return
            if self.reason:
                self._news.set()

    def _tell(self, text: str) -> None:
        if text:
            self._told.append(text)
            self._news.set()
