"""What a serving process does every second: renew its leases, and look whether keys, prices or budgets have changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.answering.teller import by_owner
from pennyweight.serve.money import softly
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team import leases, workers
from pennyweight.store.team.budgets import Budget, budgets
from pennyweight.store.team.tenants import Ring
from pennyweight.store.team.usage import Price, price_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pennyweight.serve.answering.shelf import Shelf
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.door import Door
    from pennyweight.serve.versions.following import Follower
    from pennyweight.store.team.workers import Worker

EVERY_S = 1.0


@dataclass(frozen=True)
class News:
    """What the database says now."""

    ring: Ring
    budgets: tuple[Budget, ...]
    prices: dict[str, Price]
    expires_ns: int


@final
@dataclass(slots=True, eq=False)
class Keeper:
    """Keeps one process and the database together; `keyless` stays what it was when the process began.

    With a `follower` it also says every second that the process lives and what it serves.
    """

    door: Door
    shelf: Shelf
    teller: Teller
    follower: Follower | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    warned: set[tuple[int, int, str]] = field(default_factory=set)

    async def once(self) -> None:
        """Bring everything up to date; raises `PennyweightError` or `RefusedError` if the store cannot be used."""
        purse, now_ns = self.teller.purse, time.time_ns()
        stale = purse.stale(now_ns)
        live = [id_ for id_ in purse.live() if id_ not in stale]
        living = self.follower.worker if self.follower else None
        news = await self.teller.book.run(lambda link: self._read(link, live, stale, living))
        purse.drop(stale)
        purse.renewed(live, news.expires_ns)
        self.door.ring = news.ring
        self.teller.budgets = by_owner(news.budgets)
        self.teller.book.soft = softly.by_caller(news.ring, news.budgets)
        for price in news.prices.values():
            self.shelf.reprice(price)

    def _read(self, link: Connection, live: list[str], stale: list[str], living: Worker | None) -> News:
        expires_ns = time.time_ns() + self.teller.holder.life_ns
        leases.release(link, stale)
        leases.renew(link, live, expires_ns)
        softly.warn(link, time.time_ns(), self.warned)
        if living:
            workers.beat(link, living)
        prices = {model: price_of(link, model) for model in {each.version.model for each in self.shelf.all()}}
        return News(Ring.of(link), budgets(link), prices, expires_ns)

    async def keep(self) -> None:
        """Do so every second until told to stop; a store that is away for a while is asked again."""
        while not self.stopping.is_set():
            with contextlib.suppress(PennyweightError, RefusedError):
                await self.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), EVERY_S)

    async def end(self) -> None:
        """Give all leases back, and say that the process serves no more."""
        self.stopping.set()
        mine = self.teller.purse.live()
        await self.teller.book.run(lambda link: self._left(link, mine))
        self.teller.purse.drop(mine)

    def _left(self, link: Connection, mine: list[str]) -> None:
        leases.release(link, mine)
        workers.leave(link, self.teller.holder.worker)
