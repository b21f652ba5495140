"""A team's bill as a FOCUS 1.2 data set: read from the database hour by hour, written as CSV or Parquet."""

from __future__ import annotations

import csv
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.store.disk import check_plain, explained
from pennyweight.store.focus.charges import OWN, Group, of_correction, of_group, of_idle, price_at
from pennyweight.store.focus.columns import COLUMNS, MANDATORY, kind_of
from pennyweight.store.team.corrections import corrections
from pennyweight.store.team.idle import HOUR_NS
from pennyweight.store.team.tables import price, tenant, usage
from pennyweight.store.team.usage import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from pennyweight.store.focus.charges import Row
    from pennyweight.store.team.idle import Share

_MORE = (
    "ChargeFrequency ConsumedQuantity ConsumedUnit ContractedUnitPrice ListUnitPrice PricingCategory ResourceId "
    "ResourceName ResourceType ServiceSubcategory SkuId SkuMeter SkuPriceDetails SkuPriceId SubAccountId SubAccountName"
)
HEADS = (*sorted({*MANDATORY, *_MORE.split()}), *OWN)
_AT_ONCE = 10_000


def charges(link: Connection, begin_ns: int, end_ns: int, shares: Sequence[Share] = ()) -> Iterator[Row]:
    """All charges of a span: requests by their hour, corrections that were made in it, shares of idle hours.

    Memory grows with the tenants and the prices there ever were, not with the rows.
    """
    of_tenant = {row.name: row.organisation for row in link.execute(select(tenant))}
    prices = {row.id: price_at(row) for row in link.execute(select(price))}
    found = chain(
        chain.from_iterable(
            of_group(group, prices.get(group.price_id, Price(group.model)), of_tenant.get(group.tenant, ""))
            for group in _groups(link, begin_ns, end_ns)
        ),
        (
            of_correction(each, of_tenant.get(each.tenant, ""))
            for each in corrections(link, begin_ns, end_ns, by_made=True)
        ),
        (of_idle(each, of_tenant.get(each.tenant, "")) for each in shares),
    )
    for row in found:
        yield {name: row.get(name) for name in HEADS}


def write(rows: Iterable[Row], path: Path) -> int:
    """Write a data set as its name ends, .csv or .parquet, and return the number of rows.

    Raises `BadInputError` for another ending, `MissingExtraError` without pyarrow, `StorageError` if the disk is full.
    """
    check_plain(path)
    with explained(path, "the data set"):
        if path.suffix == ".csv":
            return _to_csv(rows, path)
        if path.suffix == ".parquet":
            return _to_parquet(rows, path)
    raise BadInputError(f"A FOCUS data set cannot be written to {path}.", "end the name in .csv or .parquet.")


def read(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    """The columns and rows of a data set, every value as text, None where it is empty."""
    if path.suffix == ".parquet":
        return _from_parquet(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = csv.DictReader(file)
            heads = tuple(found.fieldnames or ())
            return heads, [{name: row.get(name) or None for name in heads} for row in found]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "give a FOCUS data set as .csv or .parquet.") from error


def _groups(link: Connection, begin_ns: int, end_ns: int) -> Iterator[Group]:
    """Sums by hour, tenant, model, version and the price that held when the request was answered."""
    held = (
        select(func.max(price.c.id))
        .where(price.c.model == usage.c.model, price.c.since_ns <= usage.c.at_ns)
        .correlate(usage)
        .scalar_subquery()
    )
    sums = ("in_units", "cached_units", "out_units", "compute_ns", "energy_uj", "cost_nusd")
    rows = (
        select(
            usage.c.at_ns.op("/")(HOUR_NS).label("hour"),
            *(usage.c[name] for name in ("tenant", "model", "number")),
            func.coalesce(held, 0).label("price_id"),
            *(usage.c[name] for name in sums),
        )
        .where(usage.c.at_ns >= begin_ns, usage.c.at_ns < end_ns)
        .subquery()
    )
    by = [rows.c[name] for name in ("hour", "tenant", "model", "number", "price_id")]
    asked = select(*by, func.count(), *(func.sum(rows.c[name]) for name in sums)).group_by(*by).order_by(*by)
    for hour, who, model, *numbers in link.execute(asked):
        yield Group(int(hour) * HOUR_NS, who, model, *(int(each or 0) for each in numbers))


def _to_csv(rows: Iterable[Row], path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEADS)
        for row in rows:
            out.writerow("" if row[name] is None else row[name] for name in HEADS)
            count += 1
    return count


def _to_parquet(rows: Iterable[Row], path: Path) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "data") from error
    kinds = {"decimal": pa.decimal128(38, 18), "moment": pa.timestamp("ms", tz="UTC")}
    schema = pa.schema(
        [
            pa.field(name, kinds.get(kind_of(name), pa.string()), nullable=name not in COLUMNS or COLUMNS[name].empty)
            for name in HEADS
        ],
        metadata={"FocusVersion": "1.2"},
    )
    count, rest = 0, iter(rows)
    with parquet.ParquetWriter(path, schema) as out:
        while part := list(islice(rest, _AT_ONCE)):
            columns = [pa.array([_typed(row[name], name) for row in part], schema.field(name).type) for name in HEADS]
            out.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(part)
    return count


def _typed(value: str | None, name: str) -> Any:
    from datetime import datetime

    if value is None:
        return None
    match kind_of(name):
        case "decimal":
            return Decimal(value)
        case "moment":
            return datetime.fromisoformat(value)
    return value


def _from_parquet(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "data") from error
    try:
        found = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "give a FOCUS data set as .csv or .parquet.") from error
    return tuple(found.column_names), [{name: _told(row[name]) for name in row} for row in found.to_pylist()]


def _told(value: Any) -> str | None:
    from datetime import datetime

    from pennyweight.store.focus.charges import plain

    if value is None:
        return None
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return plain(value) if isinstance(value, Decimal) else str(value)
