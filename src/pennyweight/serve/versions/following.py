"""Keeps what a process answers with at what the registry says: load, warm, prove, switch, drain, and drop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, final

from pennyweight.errors import CorruptError, PennyweightError
from pennyweight.serve.answering.lane import INLINE_S
from pennyweight.serve.answering.shelf import Trial
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.versions.goals import Goal, Wish, goals
from pennyweight.serve.versions.judging import settle
from pennyweight.store.team import alerts, labels, registry, rollouts, workers
from pennyweight.store.team.alerts import Alert
from pennyweight.store.team.registry import Move, Remark
from pennyweight.store.team.workers import Serving, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from sqlalchemy import Connection

    from pennyweight.serve.answering.shelf import Served, Shelf
    from pennyweight.serve.money.book import Book
    from pennyweight.store.team.registry import Version
    from pennyweight.store.team.usage import Price

EVERY_S = 0.25
"""Between two looks whether anything was moved."""
KEEP_S = 600.0
"""What was replaced stays loaded for so long, so that a rollback takes no loading."""
AGAIN_S = 30.0
"""After which a version that was refused is tried again."""
_FULL_S = 1.0
_QUIET_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """How versions are loaded, and where lanes compute: `pool`, and `aside` for copies that nobody waits for.

    `uncertified`: versions without a certificate may take the place of those that have one.
    """

    load: Callable[[Version, Price], Served]
    pool: Executor
    aside: Executor
    uncertified: bool = False


@final
@dataclass(slots=True, eq=False)
class Follower:
    """Lets the shelf of one process follow the registry; `wishes` are what is served, by name, `me` this process."""

    shelf: Shelf
    book: Book
    wishes: Mapping[str, Wish]
    means: Means
    me: Worker
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: int = field(default=-1, init=False)
    _full_s: float = field(default=0.0, init=False)
    _says: dict[str, Serving] = field(default_factory=dict, init=False)
    _refused: dict[tuple[str, int], float] = field(default_factory=dict, init=False)
    _parked: dict[str, tuple[float, Served]] = field(default_factory=dict, init=False)

    @property
    def worker(self) -> Worker:
        """This process, as others should see it."""
        return replace(self.me, serves=tuple(self._says.get(name, self._first(name)) for name in self.wishes))

    async def keep(self) -> None:
        """Look a few times per second until told to stop; a store that is away for a while is asked again."""
        while not self.stopping.is_set():
            with contextlib.suppress(PennyweightError, RefusedError):
                seen = await self.book.run(registry.newest)
                if seen != self._seen or time.monotonic() > self._full_s + _FULL_S:
                    await self.once()
                    self._seen = seen
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), EVERY_S)

    async def once(self) -> None:
        """Judge what is on trial, then serve what the registry says; raises what the store does."""
        self._full_s = time.monotonic()
        for trial in self.shelf.trials.values():
            await self.book.flush()
            said = [trial.said.popleft() for _ in range(len(trial.said))]
            await self.book.run(partial(labels.note, answers=said))
        before = self.worker
        for goal in await self.book.run(self._read):
            await self._reach(goal)
        self._parked = {name: each for name, each in self._parked.items() if each[0] > time.monotonic()}
        if self.worker != before:
            await self.tell()

    async def tell(self) -> None:
        """Say what is served now."""
        await self.book.run(partial(workers.beat, living=self.worker))

    def _read(self, link: Connection) -> tuple[Goal, ...]:
        for trial in self.shelf.trials.values():
            settle(link, rollouts.get(link, trial.rollout.id), self.me.id)
        return goals(link, self.wishes)

    async def _reach(self, goal: Goal) -> None:
        says = self._says.get(goal.name, self._first(goal.name))
        now = self.shelf.current[goal.name]
        why = says.why if says.moved == goal.moved else ""
        if goal.version.number == now.version.number:
            why = ""
        elif self._due(goal.version, goal.moved):
            why = await self._switched(goal, now, why)
        number = self.shelf.current[goal.name].version.number
        said = replace(says, number=number, moved=goal.moved, why=why, rollout=0, candidate=0)
        await self._tried(goal)
        trial = self.shelf.trials.get(goal.name)
        if trial is not None:
            said = replace(said, rollout=trial.rollout.id, candidate=trial.rollout.number)
        self._says[goal.name] = said

    async def _switched(self, goal: Goal, now: Served, known: str) -> str:
        """Let another version answer; "" or why it must not. What is in flight ends on the version that it began with.

        The one that is replaced stays loaded for a while; before that, only until its last request is answered.
        """
        served, why = await self._proved(goal, goal.version, now)
        if served is None:
            self._refused[str(goal.version), goal.moved] = time.monotonic() + AGAIN_S
            if why != known:
                await self._remark(goal.version, now.version.number, why)
            return why
        self._apart(served, aside=False)
        self.shelf.put(served, goal.name)
        self._parked[goal.name] = time.monotonic() + KEEP_S, now
        return ""

    async def _tried(self, goal: Goal) -> None:
        """Put the version on trial beside the other one, or take it away; end the trial if it must not be served."""
        there = self.shelf.trials.get(goal.name)
        if goal.rollout is None or goal.candidate is None:
            self.shelf.trials.pop(goal.name, None)
            return
        if there is not None and there.rollout.id == goal.rollout.id:
            return
        served, why = await self._proved(goal, goal.candidate, self.shelf.current[goal.name])
        if served is None:
            await self._remark(goal.candidate, goal.version.number, why)
            await self.book.run(
                partial(rollouts.end, trial=goal.rollout, verdict="rollback", move=Move(self.me.id, why))
            )
        else:
            self._apart(served, aside=goal.rollout.shadow)
            self.shelf.trials[goal.name] = Trial(goal.rollout, served)

    async def _proved(self, goal: Goal, wanted: Version, now: Served) -> tuple[Served | None, str]:
        """The version, loaded, warm and proved at the price of what it replaces; or None and why not."""
        try:
            if not (self.means.uncertified or wanted.certificate or wanted.number in goal.bare):
                _guarantee_stays(wanted, now.version)
            served = self._there(wanted)
            if served is None:
                served = await asyncio.to_thread(self.means.load, wanted, now.price)
        except PennyweightError as error:
            return None, error.problem
        except Exception as error:  # ruff: ignore[blind-except] - whatever a runtime raises, the old version stays
            return None, f"{wanted} cannot be loaded ({type(error).__name__})."
        return replace(served, price=now.price), ""

    def _there(self, wanted: Version) -> Served | None:
        """The version, if it is loaded already."""
        loaded = (*self.shelf.all(), *(served for _, served in self._parked.values()))
        return next((each for each in loaded if str(each.version) == str(wanted)), None)

    def _apart(self, served: Served, *, aside: bool) -> None:
        """Compute where nobody is held up, or where answers are soonest."""
        served.lane.pool = self.means.aside if aside else self.means.pool
        served.lane.terms = replace(served.lane.terms, inline_s=0.0 if aside else INLINE_S)
        if served.embedder is not None:
            served.embedder.pool = served.lane.pool
        if served.choir is not None:
            served.choir.pool = served.lane.pool
            served.choir.limits = replace(served.choir.limits, inline_s=served.lane.terms.inline_s)

    def _due(self, wanted: Version, moved: int) -> bool:
        return time.monotonic() >= self._refused.get((str(wanted), moved), 0.0)

    async def _remark(self, wanted: Version, before: int, why: str) -> None:
        def errand(link: Connection) -> None:
            registry.remark(link, Remark(wanted.model, "refuse", wanted.number, before), Move(self.me.id, why))
            alerts.add(link, Alert(wanted.model, wanted.number, "refused", why, 0.0), _QUIET_NS)

        await self.book.run(errand)

    def _first(self, name: str) -> Serving:
        wish, now = self.wishes[name], self.shelf.current[name]
        return Serving(wish.asked, wish.model, wish.alias, now.version.number)


def _guarantee_stays(wanted: Version, now: Version) -> None:
    if now.certificate:
        raise CorruptError(
            f"{wanted} has no certificate, and {now}, which it would replace, has one.",
            f"certify it, or allow it: pennyweight switch {wanted} --uncertified.",
        )
