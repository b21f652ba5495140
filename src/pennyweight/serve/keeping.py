"""What a serving process does every second: renew its leases, and look whether keys, prices or budgets have changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.teller import by_owner
from pennyweight.store.team import leases
from pennyweight.store.team.budgets import Budget, budgets
from pennyweight.store.team.tenants import Ring
from pennyweight.store.team.usage import Price, price_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pennyweight.serve.door import Door
    from pennyweight.serve.shelf import Shelf
    from pennyweight.serve.teller import Teller

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
    """Keeps one process and the database together; `keyless` stays what it was when the process began."""

    door: Door
    shelf: Shelf
    teller: Teller
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def once(self) -> None:
        """Bring everything up to date; raises `PennyweightError` or `RefusedError` if the store cannot be used."""
        purse, now_ns = self.teller.purse, time.time_ns()
        stale = purse.stale(now_ns)
        live = [id_ for id_ in purse.live() if id_ not in stale]
        news = await self.teller.book.run(lambda link: self._read(link, live, stale))
        purse.drop(stale)
        purse.renewed(live, news.expires_ns)
        self.door.ring = news.ring
        self.teller.budgets = by_owner(news.budgets)
        for model, price in news.prices.items():
            if self.shelf.current[model].price != price:
                self.shelf.put(replace(self.shelf.current[model], price=price))

    def _read(self, link: Connection, live: list[str], stale: list[str]) -> News:
        expires_ns = time.time_ns() + self.teller.holder.life_ns
        leases.release(link, stale)
        leases.renew(link, live, expires_ns)
        prices = {model: price_of(link, model) for model in list(self.shelf.current)}
        return News(Ring.of(link), budgets(link), prices, expires_ns)

    async def keep(self) -> None:
        """Do so every second until told to stop; a store that is away for a while is asked again."""
        while not self.stopping.is_set():
            with contextlib.suppress(PennyweightError, RefusedError):
                await self.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), EVERY_S)

    async def end(self) -> None:
        """Give all leases back."""
        self.stopping.set()
        mine = self.teller.purse.live()
        await self.teller.book.run(lambda link: leases.release(link, mine))
        self.teller.purse.drop(mine)
