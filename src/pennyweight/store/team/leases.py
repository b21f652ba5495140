"""Leases that keep budgets: money is reserved before work is done, and settled in the transaction that records it.

What is reserved is taken from a window (a budget's present minute, day …) by one conditional statement, so however
many processes ask at once, spent + reserved never exceeds the limit. A lease that its worker does not renew expires,
and what was left in it is free again.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from pennyweight.store.team.opened import driver
from pennyweight.store.team.periods import span
from pennyweight.store.team.tables import budget, lease, window

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import BindParameter, Connection

    from pennyweight.store.team.budgets import Budget


@dataclass(frozen=True, slots=True)
class Lease:
    """Part of one window, reserved for a worker until `expires_ns`; the window ends at `end_ns`."""

    id: str
    budget: int
    begin_ns: int
    end_ns: int
    nusd: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds leases, and how long one lives unless it is renewed."""

    worker: str
    life_ns: int = 5_000_000_000


def reserve(link: Connection, asked: Budget, nusd: int, holder: Holder, now_ns: int) -> Lease | None:
    """Reserve `nusd` in the window of `now_ns`; None if there is not that much left."""
    begin, end = span(asked.period, asked.zone, now_ns)
    here = and_(window.c.budget == asked.id, window.c.begin_ns == begin)
    if link.execute(select(window.c.budget).where(here)).first() is None:
        link.execute(_first_of(link), {"budget": asked.id, "begin_ns": begin, "spent_nusd": 0, "reserved_nusd": 0})
    limit = select(budget.c.limit_nusd).where(budget.c.id == asked.id).scalar_subquery()
    taken = link.execute(
        update(window)
        .where(here, window.c.spent_nusd + window.c.reserved_nusd + nusd <= limit)
        .values(reserved_nusd=window.c.reserved_nusd + nusd)
    )
    if not taken.rowcount:
        return None
    made = Lease(_name(asked.id, begin), asked.id, begin, end, nusd, now_ns + holder.life_ns)
    facts = {"id": made.id, "budget": made.budget, "begin_ns": begin, "worker": holder.worker}
    link.execute(insert(lease), facts | {"left_nusd": nusd, "expires_ns": made.expires_ns})
    return made


def _name(of: int, begin_ns: int) -> str:
    """A name that sorts by window: who changes windows in the order of leases never waits in a circle."""
    return f"{of:06x}{begin_ns // 1_000_000_000:010x}{token_hex(8)}"


def held(link: Connection, ids: Collection[str]) -> dict[str, int]:
    """What is left in those of some leases that have not expired; nobody can take them away in this transaction."""
    found: dict[str, int] = {}
    execute, asked = driver(link).execute, _HELD[link.dialect.name]
    for id_ in sorted(ids):
        row = execute(asked, (id_,)).fetchone()
        if row is not None:
            found[id_] = row[0]
    return found


def settle(link: Connection, spent: Mapping[str, int]) -> None:
    """Turn reserved money into spent money, by lease; the leases must be `held` and hold that much."""
    execute, (take, spend) = driver(link).execute, _SETTLE[link.dialect.name]
    for of, nusd in sorted(spent.items()):
        if nusd:
            execute(take, (nusd, of))
            execute(spend, (nusd, nusd, of))


def renew(link: Connection, ids: Collection[str], expires_ns: int) -> None:
    """Let leases live until `expires_ns`."""
    link.execute(update(lease).where(lease.c.id.in_(ids)).values(expires_ns=expires_ns))


def release(link: Connection, ids: Collection[str]) -> None:
    """Give back what is left in leases, and end them."""
    _end(link, lease.c.id.in_(ids))


def expire(link: Connection, now_ns: int) -> int:
    """End the leases that nobody renewed in time, and return how many there were."""
    return _end(link, lease.c.expires_ns < now_ns)


def _end(link: Connection, which: Any) -> int:
    ended = link.execute(delete(lease).where(which).returning(lease.c.budget, lease.c.begin_ns, lease.c.left_nusd))
    rows = [{"of": of, "at": at, "nusd": nusd} for of, at, nusd in sorted(map(tuple, ended))]
    if rows:
        link.execute(_FREE, rows)
    return len(rows)


_OF: BindParameter[Any] = bindparam("of")
_NUSD: BindParameter[Any] = bindparam("nusd")
# The statements of every group of requests: given to the driver as they are, they cost a fifth of composing them.
_LEFT = "SELECT left_nusd FROM lease WHERE id = "
_HELD = {"sqlite": _LEFT + "?", "postgresql": _LEFT + "%s FOR UPDATE"}
_TAKE = "UPDATE lease SET left_nusd = left_nusd - ? WHERE id = ?"
_SPEND = (
    'UPDATE "window" SET spent_nusd = spent_nusd + ?, reserved_nusd = reserved_nusd - ? '
    "WHERE (budget, begin_ns) = (SELECT budget, begin_ns FROM lease WHERE id = ?)"
)
_SETTLE = {"sqlite": (_TAKE, _SPEND), "postgresql": (_TAKE.replace("?", "%s"), _SPEND.replace("?", "%s"))}
_FREE = (
    update(window)
    .where(window.c.budget == _OF, window.c.begin_ns == bindparam("at"))
    .values(reserved_nusd=window.c.reserved_nusd - _NUSD)
)


def _first_of(link: Connection) -> Any:
    """An insert that another process may have been faster with."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if link.dialect.name == "postgresql" else sqlite
    return dialect.insert(window).on_conflict_do_nothing()
