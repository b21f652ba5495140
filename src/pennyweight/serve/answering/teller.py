"""A request from money to answer: reserve, compute, record, and only then reply."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from secrets import randbits
from typing import TYPE_CHECKING, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.answering.lane import Answer
from pennyweight.serve.money.purse import Hold, Purse, Short, wanted
from pennyweight.serve.refused import RefusedError
from pennyweight.store.team import leases
from pennyweight.store.team.budgets import Budget, state
from pennyweight.store.team.usage import Request, Units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from pennyweight.serve.answering.shelf import Served
    from pennyweight.serve.money.book import Book
    from pennyweight.serve.wire.oip import Ask
    from pennyweight.store.team.leases import Holder, Lease
    from pennyweight.store.team.tenants import Caller

_TRIES = 1024  # leases to wait for: near a limit each is for one request
_S = 1_000_000_000


@final
@dataclass(slots=True, eq=False)
class Teller:
    """Answers requests for callers whose budgets hold; `budgets` are those of owners (level, name)."""

    book: Book
    holder: Holder
    purse: Purse = field(default_factory=Purse)
    budgets: Mapping[tuple[str, str], tuple[Budget, ...]] = field(default_factory=dict)
    watt: float = 0.0  # that one computing thread draws
    told: Callable[[Request], None] | None = None  # is told of every row, where somebody listens
    _numbers: count[int] = field(default_factory=lambda: count(randbits(32)), init=False)  # chance costs 10 µs a time
    _leasing: dict[int, tuple[int, asyncio.Future[tuple[Lease | None, int]]]] = field(default_factory=dict, init=False)

    async def answer(self, caller: Caller, served: Served, ask: Ask) -> Answer:
        """The model's answer, after its row is on the disk.

        Raises `RefusedError`: 429 if a budget is used up or too many wait, 503 if the store cannot be written, and
        what the model says to a bad input.
        """
        count = len(ask.rows) * served.row_units
        most = served.price.of(Units(count, count, compute_ns=self._most_ns(served, len(ask.rows))))
        hold = await self.hold(caller, most)
        try:
            answer = await self._answered(caller, served, ask)
            units = self.units(count, answer.compute_ns)
            if answer.kept:
                units = replace(units, cached=count)
            request = self.request(caller, served, units, most)
        except BaseException:
            self.purse.give_back(hold, 0)
            raise
        try:
            await self.book.write(request, hold)
        finally:
            self.purse.give_back(hold, request.cost_nusd)
        return Answer(answer.rows, answer.compute_ns, request.id)

    async def _answered(self, caller: Caller, served: Served, ask: Ask) -> Answer:
        """What was answered to the same caller's tenant of late, or what the model says, which is then kept."""
        kept, whose = served.kept, caller.tenant.name
        if kept is None:
            return await served.lane.ask(ask.rows)
        begin_ns = time.perf_counter_ns()
        found = kept.find(ask.rows, whose)
        if found is not None:
            return Answer(found, time.perf_counter_ns() - begin_ns, kept=True)
        answer = await served.lane.ask(ask.rows)
        kept.keep(ask.rows, answer.rows, whose)
        return answer

    def _most_ns(self, served: Served, rows: int) -> int:
        """Compute that is reserved: ten times what is expected; what is beyond is not charged."""
        return int(10 * _S * served.lane.pace.expected_s(rows)) if served.price.second_nusd else 0

    def units(self, fed: int, compute_ns: int, made: int | None = None) -> Units:
        """What a request took; as many units came out as went in unless it is said how many were made."""
        return Units(fed, fed if made is None else made, 0, compute_ns, int(compute_ns * self.watt / 1000))

    def name(self, now_ns: int) -> str:
        """A new name for a request; in the order of time they are cheaper to index."""
        return f"{now_ns:016x}{next(self._numbers) % 2**32:08x}"

    def request(self, caller: Caller, served: Served, units: Units, most_nusd: int) -> Request:
        """The row of a request that took so much, for which `most_nusd` was reserved."""
        version, now_ns = served.version, time.time_ns()
        made = Request(
            self.name(now_ns),
            now_ns,
            caller.tenant.name,
            caller.key,
            version.model,
            version.number,
            units,
            200,
            min(most_nusd, served.price.of(units)),
        )
        if self.told is not None:
            self.told(made)
        return made

    async def hold(self, caller: Caller, nusd: int) -> Hold:
        """Take so much of all budgets of a caller; raises `RefusedError`: 429 if one is used up, 503 with no store."""
        budgets = [each for owner in caller.owners for each in self.budgets.get(owner, ())]
        if not budgets:
            return Hold(nusd)
        for _ in range(_TRIES):
            taken = self.purse.take(budgets, nusd)
            if isinstance(taken, Hold):
                return taken
            await self._lease(taken)
        raise RefusedError(503, "Money could not be reserved in time.", retry_s=1.0)

    async def _lease(self, short: Short) -> None:
        """Lease for this request and some more, once for all that wait.

        Raises `RefusedError` (429) if there is too little left, also for those who waited and need no less.
        """
        there = self._leasing.get(short.budget.id)
        asked, done = there or (short.nusd, self.book.run(partial(self._reserved, short)))
        self._leasing[short.budget.id] = asked, done
        try:
            lease, end_ns = await asyncio.shield(done)
            if there is not None:
                await asyncio.sleep(0)  # who asked for the lease was told before, but may have had no turn to keep it
        except PennyweightError as error:
            raise RefusedError(503, "The store cannot be written.", retry_s=1.0) from error
        finally:
            if there is None:
                del self._leasing[short.budget.id]
        if lease is None and asked <= short.nusd:
            wait_s, whose = max(0.0, (end_ns - time.time_ns()) / _S), short.budget
            raise RefusedError(
                429, f"The budget of the {whose.level} per {whose.period} is used up.", wait_s, "insufficient_quota"
            )
        if lease is not None and there is None:
            self.purse.add(lease)

    def _reserved(self, short: Short, link: Connection) -> tuple[Lease | None, int]:
        now_ns = time.time_ns()
        leases.expire(link, now_ns)
        stands = state(link, short.budget, now_ns)
        if stands.left_nusd < short.nusd:
            return None, stands.end_ns
        nusd = wanted(short, stands.left_nusd)
        return leases.reserve(link, short.budget, nusd, self.holder, now_ns), stands.end_ns


def by_owner(budgets: Sequence[Budget]) -> dict[tuple[str, str], tuple[Budget, ...]]:
    """Hard budgets by whose they are."""
    found: dict[tuple[str, str], tuple[Budget, ...]] = {}
    for each in budgets:
        if each.hard:
            owner = (each.level, each.owner)
            found[owner] = (*found.get(owner, ()), each)
    return found
