"""What a serving process does beside answering: look at drift, labels, the floor and costs, and act on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.place import EVERY_S
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.watch import costs, floor
from pennyweight.serve.watch.looks import Spending
from pennyweight.store.team import alerts, errands, labels
from pennyweight.store.team.opened import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from sqlalchemy import Connection

    from pennyweight.serve.money.book import Book
    from pennyweight.serve.watch.floor import Decision
    from pennyweight.serve.watch.monitor import Monitor
    from pennyweight.serve.watch.window import Pair
    from pennyweight.store.team.alerts import Alert

T = TypeVar("T")
"""Between looks at drift and costs."""
LABELS_S = 10.0
"""Between looks at labels, at most."""
_FIRST_S = 60.0
_TOGETHER = 500  # answers that are kept in one transaction
_PAST_NS = 14 * 24 * costs.HOUR_NS
_QUIET_NS = 6 * costs.HOUR_NS
_S = 10**9
_HELD_NS = 10 * 60 * _S  # more than looking at an hour takes
_COSTS = "costs"


@final
@dataclass(slots=True, eq=False)
class Watcher:
    """Looks every `every_s` seconds at drift and costs and more often at labels; `pool` computes, the book writes.

    `monitors` are those of the versions that answer now, by name; `renewed` says which those are before each look.
    """

    book: Book
    pool: Executor
    monitors: Mapping[str, Monitor] = field(default_factory=dict)
    every_s: float = EVERY_S
    slow_s: float = 5.0  # that a transaction of another process may take: younger labels may be followed by older ones
    spending: Spending = field(default_factory=Spending)
    renewed: Callable[[Mapping[str, Monitor]], Mapping[str, Monitor]] | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _next_s: float = field(init=False)
    _hour_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Let who has just begun begin; most of what is looked at is not there yet."""
        self._next_s = time.monotonic() + min(self.every_s, _FIRST_S)

    async def once(self, *, all_of_it: bool = False) -> list[Decision]:
        """Look, and act; what was decided, in the order it was. Raises `PennyweightError` or `RefusedError`."""
        await self._renew()
        due = all_of_it or time.monotonic() >= self._next_s
        if due:
            self._next_s = time.monotonic() + self.every_s
            await self._costs()
        found = [await self._looked(each, due=due) for each in list(self.monitors.values())]
        return [each for each in found if each.kind != "keep"]

    async def keep(self) -> None:
        """Do so until told to stop, then keep what is left; a store that is away for a while is asked again."""
        while not self.stopping.is_set():
            try:
                await self.once()
            except Exception:  # ruff: ignore[blind-except] - what is odd about one window must not end the watch
                self.book.counters.watched(failed=1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), self._pause_s)
        with contextlib.suppress(PennyweightError, RefusedError):
            await self._renew()
            for each in self.monitors.values():
                await self._kept(each, due=False)

    async def _renew(self) -> None:
        """Watch what answers now; of what does no more, keep what it has answered."""
        if self.renewed is None:
            return
        before, self.monitors = self.monitors, self.renewed(self.monitors)
        for name, each in before.items():
            if self.monitors.get(name) is not each:
                await self._kept(each, due=False)

    async def _kept(self, monitor: Monitor, *, due: bool) -> Pair | None:
        """Keep what was answered since the last time; the window, if it is full and due."""
        window, notes = await self._away(partial(monitor.take, due=due))
        self.book.counters.watched(missed=monitor.missed)
        for first in range(0, len(notes), _TOGETHER):  # between which requests are recorded
            await self.book.run(partial(labels.note, answers=notes[first : first + _TOGETHER]))
        return window

    async def _looked(self, monitor: Monitor, *, due: bool) -> Decision:
        window = await self._kept(monitor, due=due)
        told: tuple[Alert, ...] = await self._away(partial(monitor.look, window)) if window is not None else ()
        if told:
            await self.book.run(partial(_told, told))
        if not monitor.evidence:
            return _nothing(monitor)
        decision = await self._away(partial(self._judged, monitor))
        if decision.kind != "keep" and await floor.carry_out(self.book, decision, monitor.alias):
            return decision
        return _nothing(monitor)

    @property
    def _pause_s(self) -> float:
        """Between looks at labels; what other processes have answered is kept after it at the latest."""
        return min(LABELS_S, self.every_s)

    def _judged(self, monitor: Monitor) -> Decision:
        """Take in the labels that came, and decide by them, or by calibrated confidence."""
        version = monitor.version
        until_ns = time.time_ns() - round((self.slow_s + self._pause_s) * _S)
        with reading(self.book.engine) as link:
            since_ns = floor.standing_since(link, version, monitor.alias)
            if since_ns is None:
                return _nothing(monitor)
            if since_ns != monitor.since_ns:
                monitor.begin(since_ns)
            seen = labels.labelled(link, version.model, version.number, monitor.until_ns, until_ns)
            monitor.learn(seen, max(monitor.until_ns, until_ns))
            found = [floor.decide(each, link, version, monitor.alias) for each in monitor.evidence]
        return next((each for each in found if each.kind != "keep"), _nothing(monitor))

    async def _costs(self) -> None:
        """Look at the last whole hour, once; of all processes that share the store one does, for it is a long query."""
        begin_ns = time.time_ns() // costs.HOUR_NS * costs.HOUR_NS - costs.HOUR_NS
        if begin_ns == self._hour_ns:
            return
        now_ns = time.time_ns()
        until_ns = now_ns + _HELD_NS
        taking = partial(errands.take, name=_COSTS, at_ns=begin_ns, until_ns=until_ns, now_ns=now_ns)
        state = await self.book.run(taking)
        if state is errands.Errand.MINE:
            try:
                found = await self._away(partial(self._odd, begin_ns))
                await self.book.run(partial(_told_of, begin_ns, found))
            except BaseException:
                await self.book.run(partial(errands.give_back, name=_COSTS, at_ns=begin_ns))
                raise
        if state is not errands.Errand.HELD:  # by one that may yet die
            self._hour_ns = begin_ns

    def _odd(self, begin_ns: int) -> tuple[Alert, ...]:
        with reading(self.book.engine) as link:
            seen = costs.hours(link, begin_ns - _PAST_NS, begin_ns + costs.HOUR_NS)
        return costs.anomalies(seen, begin_ns, self.spending)

    async def _away(self, errand: partial[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, errand)


def _nothing(monitor: Monitor) -> Decision:
    return floor.Decision("keep", monitor.version.model, monitor.version.number)


def _told(told: Sequence[Alert], link: Connection) -> None:
    for each in told:
        alerts.add(link, each, _QUIET_NS)


def _told_of(begin_ns: int, told: Sequence[Alert], link: Connection) -> None:
    """Alerts and that their hour was looked at are written together, or neither is."""
    _told(told, link)
    errands.finish(link, _COSTS, begin_ns)
