"""Corrections of bills: rows of their own, each with its reason; what was recorded is never changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.names import named
from pennyweight.store.team.tables import correction, tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_MOST_NUSD = 2**62
_MOST_WHY = 500


@dataclass(frozen=True, slots=True)
class Correction:
    """What a tenant's bill for a model at the moment `for_ns` is off by: nano-dollars, less than 0 to give back."""

    tenant: str
    model: str
    for_ns: int
    cost_nusd: int
    why: str
    at_ns: int = 0  # when it was made; 0 for now

    def __post_init__(self) -> None:
        """Refuse what could not be explained later."""
        named("model", self.model)
        if not self.why.strip() or len(self.why) > _MOST_WHY:
            raise BadInputError("A correction needs a reason.", f"say why, in up to {_MOST_WHY} characters.")
        if not 0 < abs(self.cost_nusd) < _MOST_NUSD:
            raise BadInputError(
                f"A bill cannot be corrected by {self.cost_nusd} nano-dollars.", "give dollars other than 0."
            )


def correct(link: Connection, made: Sequence[Correction]) -> None:
    """Add corrections; raises `UnknownNameError`, and adds none, if one is for a tenant that there is none of."""
    known = frozenset(link.execute(select(tenant.c.name)).scalars())
    unknown = next((each.tenant for each in made if each.tenant not in known), None)
    if unknown is not None:
        raise UnknownNameError.of("tenant", unknown[:64], known)
    now_ns = time.time_ns()
    rows = [{name: getattr(each, name) for name in Correction.__slots__} for each in made]
    if rows:
        link.execute(insert(correction), [row | {"at_ns": row["at_ns"] or now_ns} for row in rows])


def corrections(link: Connection, begin_ns: int, end_ns: int, *, by_made: bool = False) -> tuple[Correction, ...]:
    """The corrections for moments of a span or, `by_made`, those that were made in it; oldest first."""
    when = correction.c.at_ns if by_made else correction.c.for_ns
    rows = link.execute(select(correction).where(when >= begin_ns, when < end_ns).order_by(correction.c.id))
    return tuple(Correction(*(getattr(row, name) for name in Correction.__slots__)) for row in rows)
