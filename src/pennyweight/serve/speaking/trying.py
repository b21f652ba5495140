"""A language model's version on trial: which one answers, and what the texts of both add up to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, final

from pennyweight.serve.answering.trials import drawn
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team.tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pennyweight.serve.answering.shelf import Served, Trial
    from pennyweight.serve.calling import Sendable
    from pennyweight.serve.money.book import Book
    from pennyweight.serve.speaking.part import Part
    from pennyweight.serve.speaking.paying import Sale
    from pennyweight.store.team.tenants import Caller
    from pennyweight.store.team.usage import Request

    Speak = Callable[[Served, Callable[[Sale], None]], Awaitable[Sendable]]

MODEL_FAILED = 500
_UNREAD = 400


def chosen(trial: Trial, caller: Caller) -> bool:
    """Whether the version on trial answers, as the lot says; always the same for a key if it is sticky."""
    lot = caller.key if trial.rollout.sticky and caller.key else token_hex(8)
    return trial.served.choir is not None and drawn(trial.rollout, lot)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Try:
    """One text while a version is on trial; `caller` asks it of who is `served`."""

    book: Book
    trial: Trial
    served: Served
    caller: Caller

    async def reply(self, speak: Speak, copied: Callable[[Sale], None]) -> Sendable:
        """The reply of one of both; if the version on trial has nothing to say, that of the other, who then has.

        `speak` lets a version reply, and gives the sale to its second argument. What the version that is served has
        sold is `copied`. Raises `RefusedError` as `speak` does.
        """
        begun: list[Sale] = []

        def score(sale: Sale) -> None:
            begun.append(sale)
            self._score(self.trial.served, sale)

        def both(sale: Sale) -> None:
            self._score(self.served, sale)
            copied(sale)

        if not chosen(self.trial, self.caller):
            return await speak(self.served, both)
        try:
            return await speak(self.trial.served, score)
        except RefusedError as error:
            if error.status not in {MODEL_FAILED, _UNREAD}:
                raise
            unread = error.status == _UNREAD
        if begun:
            await asyncio.wait([each.row for each in begun])  # what was reserved for it is needed again
        reply = await speak(self.served, lambda _: None)
        if unread:  # by this version, for the other could read it
            self.book.note(self.trial.rollout.id, self.trial.rollout.number, Tally(1, 1))
        return reply

    def _score(self, served: Served, sale: Sale) -> None:
        """Note a text when it is over."""
        which = self.trial.rollout.id, served.version.number

        def note(row: asyncio.Task[Request | None]) -> None:
            part = sale.part
            if part.error is not None:
                if part.error.status == MODEL_FAILED:
                    self.book.note(*which, Tally(1, 1, since_us(part)))
                return
            found = None if row.cancelled() or row.exception() else row.result()
            if found is not None:
                self.book.note(*which, tally(part, found.cost_nusd))

        sale.row.add_done_callback(note)


def tally(part: Part, cost_nusd: int) -> Tally:
    """What a text that is over adds to the sums of its version; its pace is the time it was computed for per token.

    That is the time of all that was computed together with it: more texts at once make it longer, never shorter.
    """
    us, count = part.compute_ns // 1000, len(part.made)
    pace_us = part.felt_ns // 1000 // count if count else 0
    paced = (int(count > 0), pace_us, float(pace_us) ** 2)
    return Tally(1, 0, since_us(part), us, float(us) ** 2, cost_nusd, 0, 0, *paced)


def since_us(part: Part) -> int:
    """Microseconds since a text was asked for."""
    return int(1e6 * (time.monotonic() - part.since_s))
