"""One serving process from start to end: open the store, load what is in production, answer, drain, leave."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, final

from pennyweight.catalog.devices import machine
from pennyweight.errors import BadInputError, MissingExtraError, PennyweightError
from pennyweight.serve.answering.shelf import Shelf
from pennyweight.serve.answering.teller import Teller
from pennyweight.serve.app import Face
from pennyweight.serve.counters import Counters
from pennyweight.serve.door import LOOPBACK, Door
from pennyweight.serve.keeping import Keeper
from pennyweight.serve.money.book import Book
from pennyweight.serve.posting import Posting
from pennyweight.serve.speaking.opening import must_speak
from pennyweight.serve.tracing import traced
from pennyweight.serve.versions.following import Follower, Means
from pennyweight.serve.versions.goals import Wish, earlier, first, names
from pennyweight.serve.versions.loading import ready
from pennyweight.serve.versions.minding import Minding, settings
from pennyweight.serve.watch.watching import Watcher
from pennyweight.store.team.leases import Holder
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tenants import Ring, Tenant, add_tenant, tenants
from pennyweight.store.team.usage import price_of
from pennyweight.store.team.workers import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    import uvicorn
    from sqlalchemy import Engine

    from pennyweight.serve.place import Place

ON_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_DRAIN_S = 10
_BACKLOG = 2048


def serve(place: Place, told: Callable[[str], None], lifeline: int | None = None) -> None:
    """Answer requests until a signal says stop; then finish what was begun and give the leases back.

    With a `lifeline`, a pipe's descriptor, also when its other end is closed, because who held it is gone.
    Raises `BadInputError` if the address cannot be used: taken, or open to others while there is no key.
    """
    try:
        import uvloop
    except ImportError as error:
        raise MissingExtraError.of("uvicorn", "serve") from error
    with opened(place.store) as engine:
        check(engine, place)
        listener = listening(place)
        halt = Halt(lifeline)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, halt)
        try:
            uvloop.run(_answering(engine, replace(place, port=listener.getsockname()[1]), listener, told, halt))
        finally:
            listener.close()


@final
@dataclass(slots=True, eq=False)
class Halt:
    """Whether to stop: a signal said so, or the other end of the `lifeline` was closed.

    uvicorn sends itself the signal again when it has drained; handled here, it ends nothing that must still be done.
    """

    lifeline: int | None = None
    asked: bool = False
    server: uvicorn.Server | None = None

    def __call__(self, *_: object) -> None:
        """Stop when what was begun is finished."""
        self.asked = True
        if self.server is not None:
            self.server.should_exit = True

    def over(self, server: uvicorn.Server) -> None:
        """Watch over a server in the running loop."""
        self.server = server
        server.should_exit = self.asked
        if self.lifeline is not None:
            asyncio.get_running_loop().add_reader(self.lifeline, self)


def listening(place: Place) -> socket.socket:
    """The socket, bound so that several processes can share the port."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        found.bind((place.host, place.port))
    except OSError as error:
        found.close()
        raise BadInputError(
            f"Nothing can listen at {place.host}:{place.port}: {error.strerror}.", "choose another --port or --host."
        ) from error
    return found


def check(engine: Engine, place: Place) -> None:
    """Raise `BadInputError` if everybody could ask from elsewhere."""
    with reading(engine) as link:
        keyless = not Ring.of(link).callers
    if keyless and place.host not in ON_LOOPBACK:
        raise BadInputError(
            f"Everybody who reaches {place.host} could ask: there is no key yet.",
            "make one first, with pennyweight tenants add NAME, or listen on 127.0.0.1.",
        )


async def _answering(
    engine: Engine, place: Place, listener: socket.socket, told: Callable[[str], None], halt: Halt
) -> None:
    from pennyweight.serve.guarding import server as guarded

    async with parts(engine, place) as face:
        tracing = traced(face.app(), face.teller) if place.otel else contextlib.nullcontext(face.app())
        with tracing as app:
            server = guarded(app, drain_s=_DRAIN_S)
            halt.over(server)
            _settle()
            listener.listen(_BACKLOG)  # whoever comes as soon as it is told waits a moment, and is not turned away
            shown = ", ".join(str(each.version) for each in face.shelf.current.values())
            told(f"{shown} at http://{place.host}:{place.port}")
            await server.serve([listener])


def _settle() -> None:
    """Let the collector of garbage never look again at what was loaded: it would keep requests waiting meanwhile."""
    gc.collect()
    gc.freeze()


@contextlib.asynccontextmanager
async def parts(engine: Engine, place: Place) -> AsyncGenerator[Face]:
    """What a process serves with: its threads run until the end of the block, then every lease is given back."""
    means = _means(place)
    book, shelf, wishes = Book(engine, Counters.at(place.counts)), Shelf(), names(place.models)
    door = Door(Ring({}), _begin(engine, wishes, shelf, means), LOOPBACK | {*place.hosts, place.host}, place.share)
    must_speak(place.api, shelf)
    me = _me(place)
    teller = Teller(book, Holder(me.id), watt=machine().busy_w)
    follower = Follower(shelf, book, wishes, means, me)
    keeper = Keeper(door, shelf, teller, follower)
    await keeper.once()
    watcher = _watcher(place, book, Minding(shelf, wishes, settings(place.watch, place.share)))
    face = Face(door, shelf, teller)
    routines = (keeper, follower, watcher, Posting(book.counters, shelf))
    tasks = [asyncio.create_task(each.keep()) for each in routines]
    try:
        yield face
    finally:
        await face.talking.end()
        for each in routines:
            each.stopping.set()
        await asyncio.gather(*tasks)
        with contextlib.suppress(PennyweightError):
            await keeper.end()
        book.close()
        for pool in (means.pool, means.aside, watcher.pool):
            pool.shutdown()


def _means(place: Place) -> Means:
    pool = ThreadPoolExecutor(1, "model")
    load = partial(ready, pool=pool, draft=place.draft, keep=place.watch.share)
    return Means(load, pool, ThreadPoolExecutor(1, "aside"), place.uncertified)


def _watcher(place: Place, book: Book, renewed: Minding) -> Watcher:
    """Who watches, or is told to stop before it begins."""
    pool = ThreadPoolExecutor(1, "watch")
    watcher = Watcher(book, pool, every_s=place.watch.every_s, spending=renewed.settings.spending, renewed=renewed)
    if not place.watch.on:
        watcher.stopping.set()
    return watcher


def host() -> str:
    """What this machine is called in the store."""
    return socket.gethostname()[:32]


def _me(place: Place) -> Worker:
    id_ = f"{host()}-{os.getpid()}-{token_hex(4)}"
    return Worker(id_, host(), os.getpid(), f"http://{place.host}:{place.port}", time.time_ns())


def _begin(engine: Engine, wishes: Mapping[str, Wish], shelf: Shelf, means: Means) -> bool:
    """Load what is asked for; whether there is no key."""
    with engine.begin() as link:
        keyless = not Ring.of(link).callers
        if keyless and "local" not in {each.name for each in tenants(link)}:
            add_tenant(link, Tenant("local", "local"))
        wanted = {name: earlier(link, wish) for name, wish in wishes.items()}
        prices = {name: price_of(link, wish.model) for name, wish in wishes.items()}
    for name, versions in wanted.items():
        shelf.put(first(versions, prices[name], means.load), name)
    return keyless
