"""Leases that keep budgets: money is reserved before work is done, and settled in the transaction that records it.

What is reserved is taken from a window (a budget's present minute, day …) by one conditional statement, so however
many processes ask at once, spent + reserved never exceeds the limit. A lease that its worker does not renew expires,
and what was left in it is free again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import and_, bindparam, delete, insert, select, update

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
    made = Lease(uuid4().hex, asked.id, begin, end, nusd, now_ns + holder.life_ns)
    facts = {"id": made.id, "budget": made.budget, "begin_ns": begin, "worker": holder.worker}
    link.execute(insert(lease), facts | {"left_nusd": nusd, "expires_ns": made.expires_ns})
    return made


def held(link: Connection, ids: Collection[str]) -> dict[str, int]:
    """What is left in those of some leases that have not expired; nobody can take them away in this transaction."""
    asked = select(lease.c.id, lease.c.left_nusd).where(lease.c.id.in_(ids)).with_for_update()
    return {row.id: row.left_nusd for row in link.execute(asked)}


def settle(link: Connection, spent: Mapping[str, int]) -> None:
    """Turn reserved money into spent money, by lease; the leases must be `held` and hold that much."""
    rows = [{"of": of, "nusd": nusd} for of, nusd in spent.items() if nusd]
    if rows:
        link.execute(_TAKE, rows)
        link.execute(_SPEND, rows)


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
    rows = [{"of": row.budget, "at": row.begin_ns, "nusd": row.left_nusd} for row in ended]
    if rows:
        link.execute(_FREE, rows)
    return len(rows)


_OF: BindParameter[Any] = bindparam("of")
_NUSD: BindParameter[Any] = bindparam("nusd")
_TAKE = update(lease).where(lease.c.id == _OF).values(left_nusd=lease.c.left_nusd - _NUSD)
_SPEND = (
    update(window)
    .where(
        window.c.budget == select(lease.c.budget).where(lease.c.id == _OF).scalar_subquery(),
        window.c.begin_ns == select(lease.c.begin_ns).where(lease.c.id == _OF).scalar_subquery(),
    )
    .values(spent_nusd=window.c.spent_nusd + _NUSD, reserved_nusd=window.c.reserved_nusd - _NUSD)
)
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
