"""What one process of all that share a store does for the others: who comes first does it, and if it dies another."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, final

from sqlalchemy import or_, select, update

from pennyweight.store.team.tables import errand

if TYPE_CHECKING:
    from sqlalchemy import Connection

_DONE = 2**63 - 1


@final
class Errand(Enum):
    """How something stands that is to be done once for a moment: this process does it, another does, it is done."""

    MINE = auto()
    HELD = auto()
    DONE = auto()


def take(link: Connection, name: str, at_ns: int, until_ns: int, now_ns: int) -> Errand:
    """Take it on for the moment `at_ns`, unless it is done for that or a later one, or another holds it.

    It is held until `until_ns`: who has not called `finish` by then is taken for dead.
    """
    if link.execute(_taking(link, now_ns), {"name": name, "at_ns": at_ns, "until_ns": until_ns}).first() is not None:
        return Errand.MINE
    held = link.execute(select(errand.c.until_ns).where(errand.c.name == name, errand.c.at_ns == at_ns)).scalar()
    return Errand.HELD if held is not None and held != _DONE else Errand.DONE


def finish(link: Connection, name: str, at_ns: int) -> None:
    """It is done: nobody does it for that moment again."""
    link.execute(update(errand).where(errand.c.name == name, errand.c.at_ns == at_ns).values(until_ns=_DONE))


def give_back(link: Connection, name: str, at_ns: int) -> None:
    """Let another try, as it could not be done."""
    link.execute(update(errand).where(errand.c.name == name, errand.c.at_ns == at_ns).values(until_ns=0))


def _taking(link: Connection, now_ns: int) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if link.dialect.name == "postgresql" else sqlite
    made = dialect.insert(errand)
    new = {"at_ns": made.excluded.at_ns, "until_ns": made.excluded.until_ns}
    free = or_(
        errand.c.at_ns < made.excluded.at_ns, (errand.c.at_ns == made.excluded.at_ns) & (errand.c.until_ns < now_ns)
    )
    return made.on_conflict_do_update(index_elements=["name"], set_=new, where=free).returning(errand.c.name)
