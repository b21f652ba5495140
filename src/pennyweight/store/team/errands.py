"""What one process of all that share a store does for the others: who comes first does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from pennyweight.store.team.tables import errand

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take(link: Connection, name: str, at_ns: int) -> bool:
    """Whether this call is the first to do something for a moment; nobody does it for that or an earlier one again."""
    return link.execute(_taking(link), {"name": name, "at_ns": at_ns}).first() is not None


def give_back(link: Connection, name: str, at_ns: int) -> None:
    """Let another try, as it could not be done."""
    link.execute(update(errand).where(errand.c.name == name, errand.c.at_ns == at_ns).values(at_ns=at_ns - 1))


def _taking(link: Connection) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if link.dialect.name == "postgresql" else sqlite
    made = dialect.insert(errand)
    later = {"at_ns": made.excluded.at_ns}
    newer = errand.c.at_ns < made.excluded.at_ns
    return made.on_conflict_do_update(index_elements=["name"], set_=later, where=newer).returning(errand.c.name)
