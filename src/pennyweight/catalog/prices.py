"""Price sheets: what a core-hour, memory, disk and energy cost, from the catalog or from a file of the user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pennyweight.catalog.reading import read_table, table_of, text_of, toml_of
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """Dollars per core-hour, per GB-hour of memory, per GB-month of disk (GB: 10^9 bytes, month: 30 days) and per kWh.

    Rented cores come with their power, so their `kwh_usd` is zero. `date` is when the prices were read.
    """

    id: str
    core_hour_usd: float
    gb_hour_usd: float
    disk_gb_month_usd: float
    kwh_usd: float
    date: str
    source: str

    def __post_init__(self) -> None:
        prices = (self.core_hour_usd, self.gb_hour_usd, self.disk_gb_month_usd, self.kwh_usd)
        if not all(price >= 0 and math.isfinite(price) for price in prices):
            raise BadInputError(f"The price sheet {self.id} has a price below zero.", "use zero for what is free.")
        if not self.source or not self.date:
            raise BadInputError(
                f"The price sheet {self.id} has no source or no date.", "say where and when it is from."
            )


def load_prices(name: str = "local") -> PriceSheet:
    """The sheet called `name` in the catalog, or in a file of yours: a TOML file, or a CSV file of one row.

    A file has the fields of `PriceSheet`; `id` may be left out and is then the file's name.
    """
    if name.endswith((".toml", ".csv")):
        return _sheet(_one_of(Path(name)), Path(name).name)
    rows = {row["id"]: row for row in table_of("prices.csv")}
    if name not in rows:
        raise UnknownNameError.of("price sheet", name, rows)
    return _sheet(rows[name], name)


def _one_of(path: Path) -> dict[str, Any]:
    if path.suffix == ".toml":
        return toml_of(path)
    rows = read_table(text_of(path), path.name)
    if len(rows) != 1:
        raise BadInputError(f"{path} holds {len(rows)} price sheets.", "keep one row in it.")
    return dict(rows[0])


def _sheet(row: Mapping[str, Any], name: str) -> PriceSheet:
    prices = ("core_hour_usd", "gb_hour_usd", "disk_gb_month_usd", "kwh_usd")
    known = [each.name for each in fields(PriceSheet)]
    _demand(row, known[1:], name)
    try:
        numbers = {key: float(row[key]) for key in prices}
    except (TypeError, ValueError) as error:
        raise BadInputError(f"A price in {name} is not a number: {error}.", "write it like 0.038.") from error
    return PriceSheet(str(row.get("id", name)), date=str(row["date"]), source=str(row["source"]), **numbers)


def _demand(row: Mapping[str, Any], names: Iterable[str], file: str) -> None:
    missing = [name for name in names if not str(row.get(name, ""))]
    if missing:
        raise BadInputError(f"{file} says nothing about {', '.join(missing)}.", "add a field for each.")
