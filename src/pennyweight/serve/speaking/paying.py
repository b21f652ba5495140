"""A text from money to row: reserve what it may cost at most, let it be made, record what it took, however it ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

from pennyweight.serve.money.book import LOST
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team.usage import Units

if TYPE_CHECKING:
    from pennyweight.serve.answering.shelf import Served
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.money.purse import Hold
    from pennyweight.serve.speaking.choir import Choir
    from pennyweight.serve.speaking.part import Part, Wanted
    from pennyweight.store.team.tenants import Caller
    from pennyweight.store.team.usage import Request

GONE = 499
"""The status in the row of a text whose caller hung up."""
_MARGIN = 10  # compute that is reserved, as a multiple of what is expected; what is beyond is not charged


@dataclass(frozen=True, slots=True)
class Customer:
    """Who asks which version, and the `name` of the request."""

    caller: Caller
    served: Served
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Sale:
    """A text that is being made, and its row to come: None if nothing was used."""

    part: Part
    row: asyncio.Task[Request | None]

    async def settled(self) -> Request:
        """The row, when it is on the disk; raises `RefusedError` if the text failed or could not be recorded."""
        row = await asyncio.shield(self.row)
        if self.part.error is not None:
            raise self.part.error
        if row is None:
            raise RefusedError(GONE, "The caller hung up.")
        return row


@final
@dataclass(slots=True, eq=False)
class Till:
    """Sells texts. Their rows are written whether or not anybody still listens; `open` are those to come."""

    teller: Teller
    open: dict[asyncio.Task[Request | None], Part] = field(default_factory=dict, init=False)

    async def sell(self, customer: Customer, choir: Choir, wanted: Wanted) -> Sale:
        """Begin a text; raises `RefusedError`: 429 if a budget is used up or too many wait, 503 without a store."""
        price, fed = customer.served.price, len(wanted.prompt)
        compute_ns = _MARGIN * choir.expected_ns(fed, wanted.most) if price.second_nusd else 0
        hold = await self.teller.hold(customer.caller, price.of(Units(fed, wanted.most, compute_ns=compute_ns)))
        try:
            part = choir.begin(wanted)
        except BaseException:
            self.teller.purse.give_back(hold, 0)
            raise
        row = asyncio.create_task(self._settled(customer, part, hold))
        self.open[row] = part
        row.add_done_callback(self._closed)
        return Sale(part, row)

    async def end(self) -> None:
        """End every text now, and return when the rows are on the disk."""
        for part in list(self.open.values()):
            part.end("gone")
        await asyncio.gather(*self.open, return_exceptions=True)

    def _closed(self, row: asyncio.Task[Request | None]) -> None:
        self.open.pop(row, None)
        if not row.cancelled():
            row.exception()  # whoever still waits for it is told; if nobody does, that is no news

    async def _settled(self, customer: Customer, part: Part, hold: Hold) -> Request | None:
        spent = 0
        try:
            await part.over()
            if part.error is not None or not part.begun:
                return None
            request = self._request(customer, part, hold.nusd)
            spent = await self._written(customer.caller, request, hold)
        finally:
            self.teller.purse.give_back(hold, spent)
        return request

    def _request(self, customer: Customer, part: Part, most_nusd: int) -> Request:
        units = self.teller.units(len(part.wanted.prompt), part.compute_ns, len(part.made))
        found = self.teller.request(customer.caller, customer.served, units, most_nusd)
        return replace(found, id=customer.name, status=GONE if part.reason == "gone" else 200)

    async def _written(self, caller: Caller, request: Request, hold: Hold) -> int:
        """Record it and tell what is spent of its hold; if that has lapsed meanwhile, pay from what is there now."""
        try:
            await self.teller.book.write(request, hold)
        except RefusedError as error:
            if error is not LOST:
                raise
            self.teller.purse.drop([id_ for id_, _ in hold.parts])
            again = await self.teller.hold(caller, request.cost_nusd)
            try:
                await self.teller.book.write(request, again)
            finally:
                self.teller.purse.give_back(again, request.cost_nusd)
            return 0
        return request.cost_nusd
