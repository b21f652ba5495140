"""What a serving process does beside answering: look at drift, labels, the floor and costs, and act on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.watch import costs, floor
from pennyweight.serve.watch.looks import Spending
from pennyweight.store.team import alerts, labels
from pennyweight.store.team.opened import reading
from pennyweight.store.team.registry import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from sqlalchemy import Connection

    from pennyweight.serve.money.book import Book
    from pennyweight.serve.watch.floor import Decision
    from pennyweight.serve.watch.monitor import Monitor
    from pennyweight.store.team.alerts import Alert
    from pennyweight.store.team.labels import Answer

T = TypeVar("T")
LABELS_S = 10.0  # between looks at labels
_SETTLED_NS = 5 * 10**9  # labels younger than this may be followed by older ones of a slower transaction
_PAST_NS = 14 * 24 * costs.HOUR_NS
_QUIET_NS = 6 * costs.HOUR_NS


@final
@dataclass(slots=True, eq=False)
class Watcher:
    """Looks every `every_s` seconds at drift and costs and more often at labels; `pool` computes, the book writes."""

    book: Book
    pool: Executor
    monitors: dict[str, Monitor] = field(default_factory=dict)  # by model, of the version that answers now
    alias: str = PRODUCTION
    every_s: float = 3600.0
    spending: Spending = field(default_factory=Spending)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _next_s: float = field(default=0.0, init=False)
    _hour_ns: int = field(default=0, init=False)

    async def once(self, *, all_of_it: bool = False) -> list[Decision]:
        """Look, and act; what was decided, in the order it was. Raises `PennyweightError` or `RefusedError`."""
        due = all_of_it or time.monotonic() >= self._next_s
        if due:
            self._next_s = time.monotonic() + self.every_s
            await self._costs()
        found = [await self._looked(each, due=due) for each in list(self.monitors.values())]
        return [each for each in found if each.kind != "keep"]

    async def keep(self) -> None:
        """Do so until told to stop; a store that is away for a while is asked again."""
        while not self.stopping.is_set():
            with contextlib.suppress(PennyweightError, RefusedError):
                await self.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), min(LABELS_S, self.every_s))

    async def _looked(self, monitor: Monitor, *, due: bool) -> Decision:
        window, notes = monitor.take(due=due)
        told: tuple[Alert, ...] = await self._away(partial(monitor.look, window)) if window is not None else ()
        await self.book.run(partial(_written, notes, told))
        decision = await self._away(partial(self._judged, monitor))
        if decision.kind != "keep" and await floor.carry_out(self.book, decision, self.alias):
            return decision
        return floor.Decision("keep", decision.model, decision.number)

    def _judged(self, monitor: Monitor) -> Decision:
        """Take in the labels that came, and decide by them, or by calibrated confidence."""
        version, until_ns = monitor.version, time.time_ns() - _SETTLED_NS
        with reading(self.book.engine) as link:
            seen = labels.labelled(link, version.model, version.number, monitor.until_ns, until_ns)
            monitor.learn(seen, until_ns)
            found = [floor.decide(each, link, version, self.alias) for each in monitor.evidence]
        return next((each for each in found if each.kind != "keep"), _nothing(monitor))

    async def _costs(self) -> None:
        """Look at the last whole hour, once."""
        begin_ns = time.time_ns() // costs.HOUR_NS * costs.HOUR_NS - costs.HOUR_NS
        if begin_ns != self._hour_ns:
            found = await self._away(partial(self._odd, begin_ns))
            await self.book.run(partial(_written, (), found))
            self._hour_ns = begin_ns

    def _odd(self, begin_ns: int) -> tuple[Alert, ...]:
        with reading(self.book.engine) as link:
            seen = costs.hours(link, begin_ns - _PAST_NS, begin_ns + costs.HOUR_NS)
        return costs.anomalies(seen, begin_ns, self.spending)

    async def _away(self, errand: partial[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, errand)


def _nothing(monitor: Monitor) -> Decision:
    return floor.Decision("keep", monitor.version.model, monitor.version.number)


def _written(notes: Sequence[Answer], told: Sequence[Alert], link: Connection) -> None:
    labels.note(link, notes)
    for each in told:
        alerts.add(link, each, _QUIET_NS)
