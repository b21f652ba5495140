"""What a key, a tenant or an organisation may spend in a minute, an hour, a day or a month, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, select, update

from pennyweight.errors import BadInputError
from pennyweight.store.team.periods import PERIODS, Period, span
from pennyweight.store.team.tables import budget, window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row

LEVELS = ("key", "tenant", "organisation")
_MOST_NUSD = 2**62


@dataclass(frozen=True, slots=True)
class Budget:
    """What an owner may spend in a period: `limit_nusd` nano-dollars; a soft one (not `hard`) only warns."""

    level: str
    owner: str
    period: Period
    limit_nusd: int
    hard: bool = True
    zone: str = "UTC"
    id: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no budget."""
        if self.level not in LEVELS or self.period not in PERIODS:
            raise BadInputError(
                f"There is no budget of a {self.level} per {self.period}.",
                f"use one of {', '.join(LEVELS)} and one of {', '.join(PERIODS)}.",
            )
        if not 0 <= self.limit_nusd < _MOST_NUSD:
            raise BadInputError(
                f"A budget cannot be {self.limit_nusd} nano-dollars.",
                "give between 0 and four thousand million dollars.",
            )
        span(self.period, self.zone, 0)


@dataclass(frozen=True, slots=True)
class State:
    """Where a budget stands in the window of a moment."""

    budget: Budget
    begin_ns: int
    end_ns: int
    spent_nusd: int
    reserved_nusd: int

    @property
    def left_nusd(self) -> int:
        """What may still be reserved."""
        return max(0, self.budget.limit_nusd - self.spent_nusd - self.reserved_nusd)


def put(link: Connection, wanted: Budget) -> Budget:
    """Make a budget, or change the limit of the owner's one of that period; money already spent stays spent."""
    same = and_(
        budget.c.level == wanted.level,
        budget.c.owner == wanted.owner,
        budget.c.period == wanted.period,
        budget.c.hard == int(wanted.hard),
    )
    values = {"limit_nusd": wanted.limit_nusd, "zone": wanted.zone}
    if not link.execute(update(budget).where(same).values(values)).rowcount:
        facts = {"level": wanted.level, "owner": wanted.owner, "period": wanted.period, "hard": int(wanted.hard)}
        link.execute(insert(budget), facts | values)
    return _budget(link.execute(select(budget).where(same)).one())


def budgets(link: Connection, owners: Iterable[tuple[str, str]] = ()) -> tuple[Budget, ...]:
    """The budgets of some owners (level, name), or all there are, in the order in which they must be taken from."""
    found = tuple(_budget(row) for row in link.execute(select(budget).order_by(budget.c.id)))
    wanted = frozenset(owners)
    return tuple(each for each in found if not wanted or (each.level, each.owner) in wanted)


def state(link: Connection, asked: Budget, now_ns: int) -> State:
    """What has been spent and is reserved in the window of `now_ns`."""
    begin, end = span(asked.period, asked.zone, now_ns)
    row = link.execute(
        select(window.c.spent_nusd, window.c.reserved_nusd).where(
            window.c.budget == asked.id, window.c.begin_ns == begin
        )
    ).one_or_none()
    return State(asked, begin, end, *(row or (0, 0)))


def _budget(row: Row[Any]) -> Budget:
    return Budget(row.level, row.owner, row.period, row.limit_nusd, bool(row.hard), row.zone, row.id)
