"""Which processes serve at this moment, and what every name stands for in each of them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from pennyweight.store.team.tables import worker

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

LIVE_NS = 5_000_000_000
"""A process that has said nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What `asked` ("digits", "digits@staging") stands for in a process: version `number` of `model`, by `alias`.

    `moved` is the event that it has followed, also if it could not: then `why` says so. `rollout` is the trial that
    it takes part in, `candidate` the version on trial; 0 for none.
    """

    asked: str
    model: str
    alias: str
    number: int
    moved: int = 0
    why: str = ""
    rollout: int = 0
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that serves: its `id` is that of its leases, `beat_ns` when it last said that it lives."""

    id: str
    host: str
    pid: int
    address: str
    began_ns: int
    serves: tuple[Serving, ...] = ()
    beat_ns: int = 0


def beat(link: Connection, living: Worker) -> None:
    """Say that a process lives and what it serves; those that have been gone for long are forgotten."""
    now_ns = time.time_ns()
    facts = {"beat_ns": now_ns, "serves": json.dumps([asdict(each) for each in living.serves])}
    if not link.execute(update(worker).where(worker.c.id == living.id).values(facts)).rowcount:
        fixed = {name: getattr(living, name) for name in ("id", "host", "pid", "address", "began_ns")}
        link.execute(delete(worker).where(worker.c.beat_ns < now_ns - 12 * LIVE_NS))
        link.execute(insert(worker), fixed | facts)


def leave(link: Connection, id_: str) -> None:
    """Say that a process serves no more."""
    link.execute(delete(worker).where(worker.c.id == id_))


def bury(link: Connection, host: str, pid: int) -> None:
    """Say that a process died without saying so itself."""
    link.execute(delete(worker).where(worker.c.host == host, worker.c.pid == pid))


def live(link: Connection) -> tuple[Worker, ...]:
    """The processes that serve now, oldest first."""
    asked = select(worker).where(worker.c.beat_ns >= time.time_ns() - LIVE_NS)
    return tuple(_worker(row) for row in link.execute(asked.order_by(worker.c.began_ns, worker.c.id)))


def _worker(row: Row[Any]) -> Worker:
    serves = tuple(Serving(**each) for each in json.loads(row.serves))
    return Worker(row.id, row.host, row.pid, row.address, row.began_ns, serves, row.beat_ns)
