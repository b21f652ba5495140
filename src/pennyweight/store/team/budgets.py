"""What a key, a tenant or an organisation may spend in a minute, an hour, a day or a month, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, select, update

from pennyweight.errors import BadInputError
from pennyweight.store.team.periods import PERIODS, Period, span
from pennyweight.store.team.tables import budget, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row

LEVELS = ("key", "tenant", "organisation")
WARN_AT = (1.0, 0.8)
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

    @property
    def used(self) -> float:
        """What is spent, as a share of the limit; of a limit of nothing, 1.0."""
        return self.spent_nusd / self.budget.limit_nusd if self.budget.limit_nusd else 1.0

    @property
    def warning(self) -> str:
        """What is to be said about it: "" below 80%, then "80%", and "100%" when the limit is reached."""
        return next((f"{level:.0%}" for level in WARN_AT if self.used >= level), "")


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


def track(link: Connection, spent: Mapping[tuple[int, int], int]) -> None:
    """Count money as spent, by budget and the beginning of its window, whatever the limit says: for soft budgets."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if link.dialect.name == "postgresql" else sqlite
    new: Any = dialect.insert(window)
    there = new.on_conflict_do_update(
        index_elements=["budget", "begin_ns"], set_={"spent_nusd": window.c.spent_nusd + new.excluded.spent_nusd}
    )
    # in one order, so that two processes do not wait for each other
    rows = [
        {"budget": of, "begin_ns": begin, "spent_nusd": nusd} for (of, begin), nusd in sorted(spent.items()) if nusd
    ]
    if rows:
        link.execute(there, [row | {"reserved_nusd": 0} for row in rows])


def states(link: Connection, now_ns: int) -> tuple[State, ...]:
    """Where all budgets stand in the windows of `now_ns`, by two statements however many there are."""
    known = budgets(link)
    spans = {each.id: span(each.period, each.zone, now_ns) for each in known}
    begins = {begin for begin, _ in spans.values()}
    rows = link.execute(select(window).where(window.c.begin_ns.in_(begins)))
    there = {(row.budget, row.begin_ns): (row.spent_nusd, row.reserved_nusd) for row in rows}
    return tuple(State(each, *spans[each.id], *there.get((each.id, spans[each.id][0]), (0, 0))) for each in known)


def warnings(link: Connection, now_ns: int) -> tuple[State, ...]:
    """The budgets of which 80% or more is spent in the window of `now_ns`, the most used first."""
    return tuple(sorted((each for each in states(link, now_ns) if each.warning), key=lambda each: -each.used))


def _budget(row: Row[Any]) -> Budget:
    return Budget(row.level, row.owner, row.period, row.limit_nusd, bool(row.hard), row.zone, row.id)
