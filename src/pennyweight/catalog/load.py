"""Devices and price sheets, read from the catalog's tables or from a file of the user's own."""

from __future__ import annotations

import csv
import math
import os
import platform
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_RATES = ("float32", "bfloat16", "int8")
_GENERIC = "generic-cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """What a machine can do and draws, PER CORE (an accelerator counts as one core), and where the figures are from.

    `flop_s` is the rate of large matrix products by precision (a precision that is missing is not known or has no
    units of its own), `hbm_byte_s` the traffic one core alone can have with main memory; `idle_w` and `busy_w` are the
    watts of one core doing nothing and working; `memory_byte` is that of the whole machine. `call_s` and `op_s` are
    what one call and one operator (a linear layer) cost beyond their arithmetic, by runtime, known only where
    `measured`.
    """

    name: str
    kind: str
    cores: int
    flop_s: Mapping[str, float]
    hbm_byte_s: float
    idle_w: float
    busy_w: float
    memory_byte: float
    source: str
    call_s: Mapping[str, float] = field(default_factory=dict)
    op_s: Mapping[str, float] = field(default_factory=dict)
    measured: bool = False

    def __post_init__(self) -> None:
        needed = (self.flop_s.get("float32", 0.0), self.hbm_byte_s, self.busy_w, self.memory_byte, self.cores)
        if not all(value > 0 and math.isfinite(value) for value in needed):
            raise BadInputError(
                f"The device {self.name} has a rate, power or size that is not above zero.",
                "give flop_s.float32, hbm_byte_s, busy_w, memory_byte and cores.",
            )
        if not self.source:
            raise BadInputError(f"Nothing says where the figures of {self.name} are from.", "fill in its source.")

    def rate(self, precision: str) -> float:
        """FLOP per second of one core in `precision`; without a figure of its own, that of float32."""
        return self.flop_s.get(precision, self.flop_s["float32"])

    def joule(self, cpu_s: float, wall_s: float) -> float:
        """Energy of `cpu_s` core-seconds of work over `wall_s` seconds, from the power of an idle and of a busy core.

        At least one core is powered all the time; every further busy core is powered while it works.
        """
        return self.idle_w * max(cpu_s, wall_s) + (self.busy_w - self.idle_w) * cpu_s


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


def home() -> Path:
    """Where what belongs to this machine is kept: `$PENNYWEIGHT_HOME`, otherwise the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get("PENNYWEIGHT_HOME")
    return Path(named) if named else user_data_path("pennyweight", appauthor=False)


def machine() -> Device:
    """This machine as measured (`machine.toml` in `home()`), or as the catalog knows its processor, and says so."""
    file = home() / "machine.toml"
    return _as_of(str(file), file.stat().st_mtime_ns) if file.exists() else this_cpu()


@lru_cache(maxsize=1)
def _as_of(path: str, written: int) -> Device:
    del written  # the file is read again only once it has changed: every window asks for the machine
    return load_device(path)


def load_device(name: str) -> Device:
    """The device called `name` in the catalog, or described by the TOML file at the path `name`."""
    if name.endswith(".toml"):
        return _device_of_toml(Path(name))
    rows = {row["name"]: row for row in _table("devices.csv")}
    if name not in rows:
        raise UnknownNameError.of("device", name, rows)
    return _device_of_row(rows[name])


def load_prices(name: str = "local") -> PriceSheet:
    """The sheet called `name` in the catalog, or in a file of yours: a TOML file, or a CSV file of one row.

    A file has the fields of `PriceSheet`; `id` may be left out and is then the file's name.
    """
    if name.endswith((".toml", ".csv")):
        return _sheet(_one_of(Path(name)), Path(name).name)
    rows = {row["id"]: row for row in _table("prices.csv")}
    if name not in rows:
        raise UnknownNameError.of("price sheet", name, rows)
    return _sheet(rows[name], name)


@cache
def this_cpu() -> Device:
    """The catalog's figures for this machine's processor; one it does not know gets the generic ones, and says so."""
    found = identity()
    rows = _table("devices.csv")
    known = next((row for row in rows if row["match"] and re.search(row["match"], found)), None)
    device = _device_of_row(known) if known else load_device(_GENERIC)
    said = "catalog, not measured here" if known else f"generic figures, the processor {found!r} is not in the catalog"
    memory_byte = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return replace(device, cores=cores(), memory_byte=memory_byte, source=f"{said}; {device.source}")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def identity(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's maker, family, model and name, such as ``"AuthenticAMD family 26 model 2: AMD EPYC"``."""
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    facts: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    if "CPU part" in facts:
        return f"ARM part {facts['CPU part']}"
    family, model = facts.get("cpu family", "?"), facts.get("model", "?")
    return f"{facts.get('vendor_id', '?')} family {family} model {model}: {facts.get('model name', 'unknown')}"


@cache
def _table(file: str) -> tuple[dict[str, str], ...]:
    return read_table(files("pennyweight.catalog").joinpath(file).read_text(encoding="utf-8"), file)


def read_table(text: str, file: str) -> tuple[dict[str, str], ...]:
    """The rows of a CSV table; one without a source column, or a row without a source, is refused."""
    reader = csv.DictReader(text.splitlines())
    if "source" not in (reader.fieldnames or ()):
        raise BadInputError(f"The table {file} has no source column.", "say for every row where it is from.")
    rows = tuple(reader)
    for number, row in enumerate(rows, start=2):
        if not row["source"] or None in row or None in row.values():
            raise BadInputError(
                f"Line {number} of {file} has no source or not as many fields as the header.",
                "fill it in, and quote what contains commas.",
            )
    return rows


def _device_of_row(row: dict[str, str]) -> Device:
    flop_s = {rate: float(row[f"flop_s_{rate}"]) for rate in _RATES if row[f"flop_s_{rate}"]}
    return Device(
        name=row["name"],
        kind=row["kind"],
        cores=int(row["cores"]),
        flop_s=flop_s,
        hbm_byte_s=float(row["hbm_byte_s"]),
        idle_w=float(row["idle_w"]),
        busy_w=float(row["busy_w"]),
        memory_byte=float(row["memory_byte"]),
        source=row["source"],
    )


def _device_of_toml(path: Path) -> Device:
    body = _toml(path)
    known = [each.name for each in fields(Device)]
    wrong = next((key for key in body if key not in known), None)
    if wrong:
        raise UnknownNameError.of("field of a device", wrong, known)
    try:
        return Device(**body)
    except (TypeError, AttributeError) as error:
        raise BadInputError(f"{path} does not describe a device: {error}.", f"give {', '.join(known[:9])}.") from error


def _one_of(path: Path) -> dict[str, Any]:
    if path.suffix == ".toml":
        return _toml(path)
    rows = read_table(_text(path), path.name)
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


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{path} is not TOML: {error}.", "correct that line.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "check the path and its rights.") from error
