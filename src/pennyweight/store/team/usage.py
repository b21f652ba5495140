"""A row for every request that was answered, its price, and what they come to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.names import named
from pennyweight.store.team.opened import driver
from pennyweight.store.team.tables import price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

_S = 1_000_000_000
_AT_ONCE = 32  # rows of one statement, which SQLite keeps prepared for every number of rows


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs a caller, in nano-dollars: per request, per unit in, out and cached, per second of compute.

    A unit is a row of the input, or a token.
    """

    model: str
    request_nusd: int = 0
    in_nusd: int = 0
    out_nusd: int = 0
    cached_nusd: int = 0
    second_nusd: int = 0

    def of(self, counted: Units) -> int:
        """The price of a request, rounded up to a whole nano-dollar."""
        fresh = counted.fed - counted.cached
        seconds = -(-self.second_nusd * counted.compute_ns // _S)
        return (
            self.request_nusd
            + self.in_nusd * fresh
            + self.cached_nusd * counted.cached
            + (self.out_nusd * counted.made + seconds)
        )


@dataclass(frozen=True, slots=True)
class Units:
    """What a request took: units `fed`, of which `cached`, units `made`, nanoseconds of compute, microjoules."""

    fed: int
    made: int
    cached: int = 0
    compute_ns: int = 0
    energy_uj: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request: who asked what and when, what it took, and what it costs."""

    id: str
    at_ns: int
    tenant: str
    key: str
    model: str
    number: int
    units: Units
    status: int
    cost_nusd: int


def set_price(link: Connection, wanted: Price) -> None:
    """Let a price hold from now on; requests before keep theirs."""
    named("model", wanted.model)
    facts = {
        name: getattr(wanted, name) for name in ("request_nusd", "in_nusd", "out_nusd", "cached_nusd", "second_nusd")
    }
    if min(facts.values()) < 0:
        raise BadInputError(f"A price of {wanted.model} is less than nothing.", "give prices of 0 or more.")
    link.execute(insert(price), facts | {"model": wanted.model, "since_ns": time.time_ns()})


def price_of(link: Connection, model: str) -> Price:
    """The price that holds; raises `UnknownNameError` if there is none, for what has no price is not served."""
    row = link.execute(select(price).where(price.c.model == model).order_by(price.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        raise UnknownNameError(f"{model} has no price.", f"set one: pennyweight tariff {model} --request 1e-6")
    return Price(row.model, row.request_nusd, row.in_nusd, row.out_nusd, row.cached_nusd, row.second_nusd)


def record(link: Connection, requests: Sequence[Request]) -> None:
    """Add rows; one that is there already is an error, and then none of them is added."""
    if not requests:
        return
    rows = [_row(each) for each in requests]
    if link.dialect.name == "postgresql":
        driver(link).execute(_COLUMNWISE, tuple(map(list, zip(*rows, strict=True))))
    else:
        for at in range(0, len(rows), _AT_ONCE):
            some = rows[at : at + _AT_ONCE]
            driver(link).execute(_rowwise(len(some)), list(chain.from_iterable(some)))


# The statement of every request, as the driver takes it.
_INTO = (
    'INSERT INTO usage (request, at_ns, tenant, "key", model, number, in_units, out_units, cached_units, compute_ns, '
    "energy_uj, status, cost_nusd)"
)
_TEXT, _WHOLE = "%s::text[]", "%s::bigint[]"
_ARRAYS = ", ".join([_TEXT, _WHOLE, _TEXT, _TEXT, _TEXT, *[_WHOLE] * 8])
_COLUMNWISE = " ".join((_INTO, "SELECT * FROM", f"unnest({_ARRAYS})"))


@cache
def _rowwise(count: int) -> str:
    """One step of SQLite for so many rows: with every step a thread lets the interpreter go, and waits to have it."""
    row = f"({', '.join('?' * 13)})"
    return " ".join((_INTO, "VALUES", ", ".join([row] * count)))


def _row(of: Request) -> tuple[int | str, ...]:
    """The values of the columns, in their order."""
    units = of.units
    return (
        of.id,
        of.at_ns,
        of.tenant,
        of.key,
        of.model,
        of.number,
        units.fed,
        units.made,
        units.cached,
        units.compute_ns,
        units.energy_uj,
        of.status,
        of.cost_nusd,
    )
