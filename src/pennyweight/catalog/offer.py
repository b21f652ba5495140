"""An offer: a machine with accelerators for rent, read from a row of a price list and checked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.machines import network_byte_s
from pennyweight.catalog.spot import interruptions_hour, spot
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIELDS = (
    "cloud",
    "region",
    "instance",
    "accelerator",
    "devices",
    "vcpu",
    "memory_gib",
    "usd_hour",
    "spot_usd_hour",
    "interruption",
    "date",
    "source",
)
"""The columns of a price list; those of `OPTIONAL` may be left out or left empty."""
OPTIONAL = ("vcpu", "memory_gib", "spot_usd_hour", "interruption", "source")

_WORDS = ("cloud", "region", "instance", "accelerator")
_GIB = 2.0**30
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")
# No accelerator was ever rented outside these dollars per hour: beyond them the unit is another one.
_LEAST_USD, _MOST_USD = 0.01, 200.0
_MOST_GIB = 65536.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine for rent: `devices` of an `accelerator` for `usd_hour` together, on demand, as of `date`.

    `spot_usd_hour` is the price of a spare machine and `interruptions_hour` how often it is taken away, `memory_byte`
    that of the host, `net_byte_s` the network per device in one direction; None where it is not known. An empty `date`
    means that the source has none.
    """

    cloud: str
    region: str
    instance: str
    accelerator: str
    devices: int
    vcpu: float | None
    memory_byte: float | None
    usd_hour: float
    spot_usd_hour: float | None
    interruption: str
    date: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same offer in another price list."""
        return self.cloud, self.region, self.instance

    @property
    def interruptions_hour(self) -> float | None:
        """How often per hour a spare one is taken away; see `spot.interruptions_hour`."""
        return interruptions_hour(self.interruption) if self.interruption else None

    @property
    def net_byte_s(self) -> float | None:
        """Network of one device, byte per second in one direction."""
        whole = network_byte_s(self.cloud, self.instance)
        return None if whole is None else whole / self.devices

    def device_hour_usd(self, *, spare: bool = False) -> float:
        """Dollars per hour of one device, on demand or `spare`; infinite where spare ones are not sold."""
        price = self.spot_usd_hour if spare else self.usd_hour
        return math.inf if price is None else price / self.devices


def offers_of(rows: Iterable[Mapping[str, str]], file: str, *, dated: bool = True) -> list[Offer]:
    """The offers that `rows` in the columns of `FIELDS` hold; what cannot be right is refused with its line.

    A row that has a `line` of its own is named by it. A price of spare machines that is not below that on demand is
    none. Raises `BadInputError`.
    """
    return [
        _offer(row, f"Line {row.get('line', line)} of {file}", dated=dated) for line, row in enumerate(rows, start=2)
    ]


def _offer(row: Mapping[str, str], where: str, *, dated: bool) -> Offer:
    empty = next((name for name in _WORDS if not row[name].strip()), None)
    if empty:
        raise BadInputError(f"{where} has no {empty}.", "fill it in.")
    devices = _figure(row, "devices", where)
    usd_hour = _figure(row, "usd_hour", where)
    if not devices or devices != int(devices):
        raise BadInputError(f"{where} sells {row['devices']!r} devices.", "give a whole number of accelerators.")
    if usd_hour is None:
        raise BadInputError(f"{where} has no usd_hour.", "give the dollars per hour of the whole machine.")
    _check_unit(usd_hour / devices, where)
    date = row.get("date", "").strip()
    if (dated or date) and not _DATE.fullmatch(date):
        raise BadInputError(f"{where} has the date {date!r}.", "write it like 2026-11-22.")
    gib = _figure(row, "memory_gib", where)
    if gib is not None and gib > _MOST_GIB:
        raise BadInputError(f"{where} has {gib:g} GiB of memory.", "give memory_gib in GiB (2^30 bytes).")
    known = spot(row["cloud"], row["region"], row["instance"])
    spare = _figure(row, "spot_usd_hour", where)
    if spare is None and known:
        spare = usd_hour * (1 - known.saving)
    return Offer(
        cloud=row["cloud"],
        region=row["region"],
        instance=row["instance"],
        accelerator=accelerator(row["accelerator"]).name,
        devices=int(devices),
        vcpu=_figure(row, "vcpu", where),
        memory_byte=None if gib is None else gib * _GIB,
        usd_hour=usd_hour,
        spot_usd_hour=spare if spare is not None and spare < usd_hour else None,
        interruption=row.get("interruption", "") or (known.interruption if known else ""),
        date=date,
        source=row.get("source", ""),
    )


def _check_unit(usd_device_hour: float, where: str) -> None:
    if not _LEAST_USD <= usd_device_hour <= _MOST_USD:
        raise BadInputError(
            f"{where} asks {usd_device_hour:g} dollars per hour and accelerator, which no seller does.",
            "give usd_hour in dollars (not cents), per hour (not per month), of the whole machine.",
        )


def _figure(row: Mapping[str, str], name: str, where: str) -> float | None:
    text = (row.get(name) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 0 and math.isfinite(value)):
        raise BadInputError(f"{where} has {name} = {text!r}.", "write a number that is not below zero, without a sign.")
    return value
