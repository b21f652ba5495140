"""Dollars: what a cost comes to under a price sheet, and the bill of a whole horizon, predicted or measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.catalog import PriceSheet, load_prices
from pennyweight.core import Basis, Bill, Cost, Phase

if TYPE_CHECKING:
    from pennyweight.core import Demand

    Sds = tuple[float, float, float]

__all__ = ["Parts", "PriceSheet", "bill", "load_prices", "measured_bill", "price", "storage"]

_HOUR_S = 3600.0
_KWH_J = 3.6e6
_GB = 1e9
_MONTH_DAY = 30.0
_95 = 1.96
NOTHING = Cost()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a bill is made of, before dollars: `unit` is one prediction, `train` and `tune` happen once.

    `memory_byte` is held while predictions are served, `train_byte` while the model is trained and compressed (None:
    as much); `disk_byte` is stored for the whole horizon, `data_byte` (the training data) for as long as data is kept.
    `error` is the relative half-width of a 95% interval.
    """

    unit: Cost
    train: Cost = NOTHING
    tune: Cost = NOTHING
    memory_byte: float = 0.0
    train_byte: float | None = None
    disk_byte: float = 0.0
    error: float = 0.0
    data_byte: float = 0.0


def price(cost: Cost, memory_byte: float, sheet: PriceSheet) -> Cost:
    """The same cost with its dollars.

    ``usd = device_s / 3600 · (core_hour_usd + memory_byte / 10⁹ · gb_hour_usd) + joule / 3.6·10⁶ · kwh_usd``

    Memory is held for as long as one core would work, `device_s`: seconds on the clock depend on what else runs on the
    machine, core seconds hardly do. With n threads this charges n times the memory that is really held.
    """
    hour_usd = sheet.core_hour_usd + memory_byte / _GB * sheet.gb_hour_usd
    usd = cost.device_s / _HOUR_S * hour_usd + cost.joule / _KWH_J * sheet.kwh_usd
    return Cost(cost.device_s, cost.wall_s, cost.joule, usd)


def storage(disk_byte: float, days: float, sheet: PriceSheet) -> Cost:
    """What it costs to keep `disk_byte` for `days`: ``disk_byte / 10⁹ · disk_gb_month_usd · days / 30``."""
    return Cost(usd=disk_byte / _GB * sheet.disk_gb_month_usd * days / _MONTH_DAY)


def bill(basis: Basis, demand: Demand, parts: Parts, sheet: PriceSheet, sds: Sds | None = None) -> Bill:
    """The bill of the horizon: train + compress + ``unit · demand.predictions`` + storage for ``demand.days``.

    Storage is that of the model, and that of the training data for ``demand.data_days``.

    The one place where parts become a bill, so predicted and measured ones follow the same arithmetic. Where training,
    compressing and serving are only known up to standard deviations of their logarithms, `sds`, these make the error.
    """
    memory_byte = parts.memory_byte
    train_byte = memory_byte if parts.train_byte is None else parts.train_byte
    unit = price(parts.unit, memory_byte, sheet)
    train, tune = price(parts.train, train_byte, sheet), price(parts.tune, train_byte, sheet)
    serve = unit * demand.predictions
    store = storage(parts.disk_byte, demand.days, sheet) + storage(parts.data_byte, demand.data_days, sheet)
    error = parts.error if sds is None else _error(sds, train.usd, tune.usd, serve.usd, store.usd)
    lines = ((Phase.TRAIN, train), (Phase.COMPRESS, tune), (Phase.SERVE, serve), (Phase.STORE, store))
    return Bill(basis, lines, error, unit)


def _error(sds: Sds, train_usd: float, tune_usd: float, serve_usd: float, store_usd: float) -> float:
    """The relative half-width of a 95% interval of the sum, the lines taken as independent."""
    usd = train_usd + tune_usd + serve_usd + store_usd
    off = (train_usd * sds[0]) ** 2 + (tune_usd * sds[1]) ** 2 + (serve_usd * sds[2]) ** 2
    return _95 * math.sqrt(off) / usd if usd else 0.0


def measured_bill(demand: Demand, parts: Parts, sheet: PriceSheet) -> Bill:
    """The bill of what was measured: `bill` with the basis MEASURED."""
    return bill(Basis.MEASURED, demand, parts, sheet)
