"""Copies of texts, continued by a version whose words nobody sees, and where it would have said something else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from secrets import randbits
from typing import TYPE_CHECKING, final

from pennyweight.serve.refused import RefusedError
from pennyweight.serve.speaking.asking import read
from pennyweight.serve.speaking.trying import since_us, tally
from pennyweight.store.team.tallies import Tally
from pennyweight.store.team.usage import Units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.serve.answering.shelf import Trial
    from pennyweight.serve.money.book import Book
    from pennyweight.serve.speaking.choir import Choir
    from pennyweight.serve.speaking.part import Part
    from pennyweight.serve.speaking.paying import Sale
    from pennyweight.serve.wire.openai_asked import Ask

_MOST_COPIES = 64  # texts that wait for a version whose words nobody sees; what comes then is not copied
_UNREAD = 400


def seeded(ask: Ask) -> Ask:
    """The same question, whose chances can be had twice."""
    return ask if ask.seed is not None else replace(ask, seed=randbits(32))


@final
@dataclass(slots=True, eq=False)
class Shadow:
    """Puts copies to versions on trial; they are charged to nobody, and what they cost is among the trial's sums."""

    book: Book
    _open: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _parts: set[Part] = field(default_factory=set, init=False)
    _over: bool = field(default=False, init=False)

    def copy(self, trial: Trial, ask: Ask, sale: Sale) -> None:
        """Let the version on trial continue it too; `ask` must be `seeded`."""
        choir = trial.served.choir
        if not trial.rollout.shadow or choir is None or max(choir.waiting, len(self._open)) >= _MOST_COPIES:
            return
        task = asyncio.create_task(self._copied(trial, choir, ask, sale.part))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def end(self) -> None:
        """End every copy now."""
        self._over = True
        for part in self._parts:
            part.end("gone")
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _copied(self, trial: Trial, choir: Choir, ask: Ask, told: Part) -> None:
        """Read it as this version does, continue it and compare."""
        try:
            part = choir.begin(await read(ask, choir))
        except RefusedError as error:
            if error.status == _UNREAD:  # the other version could read it
                self._note(trial, Tally(1, 1))
            return
        self._parts.add(part)
        if self._over:
            part.end("gone")
        try:
            await self._compared(trial, part, told)
        finally:
            self._parts.discard(part)

    async def _compared(self, trial: Trial, copy: Part, told: Part) -> None:
        """Wait for both; where nobody waits for the one, the other need not go on."""
        await told.over()
        if told.reason in {"gone", "failed"}:
            copy.end("gone")
        await copy.over()
        if copy.reason == "failed":
            if copy.error is not None and copy.error.status >= 500:
                self._note(trial, Tally(1, 1, since_us(copy)))
            return
        if copy.begun:
            units = Units(len(copy.wanted.prompt), len(copy.made), compute_ns=copy.compute_ns)
            both = Tally(compared=(seen := alike(told, copy))[0], agreed=seen[1])
            self._note(trial, tally(copy, trial.served.price.of(units)) + both)

    def _note(self, trial: Trial, seen: Tally) -> None:
        self.book.note(trial.rollout.id, trial.rollout.number, seen)


def alike(told: Part, copy: Part) -> tuple[int, int]:
    """How many tokens can be compared, those up to the first that differs, and how many of them are the same.

    What follows on another word is another text, and says nothing.
    """
    agreed = 0
    for one, other in zip(_pieces(told), _pieces(copy), strict=False):
        if one != other:
            return agreed + 1, agreed
        agreed += 1
    return agreed, agreed


def _pieces(part: Part) -> Iterator[str | None]:
    """What each token says, however the version numbers them; None where it says that this is all."""
    pieces = part.tokenizer.pieces(part.wanted.prompt.tolist())
    for token in part.made:
        yield None if token in part.tokenizer.ends else pieces.put(token)
