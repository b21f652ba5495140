"""Devices: what the catalog knows, what was measured here, and which processor this is."""

from __future__ import annotations

import math
import os
import platform
import re
import sys
from dataclasses import dataclass, field, fields, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.catalog.reading import table_of, toml_of
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
    `measured`; `pace_s` are what calls that never change took then, by which a slow moment is told later.
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
    pace_s: Mapping[str, float] = field(default_factory=dict)
    measured: bool = False

    def __post_init__(self) -> None:
        needed = (self.flop_s.get("float32", 0.0), self.hbm_byte_s, self.busy_w, self.memory_byte, self.cores)
        if not all(value > 0 and math.isfinite(value) for value in needed):
            raise BadInputError(
                f"The device {self.name} has a rate, power or size that is not above zero.",
                "give flop_s.float32, hbm_byte_s, busy_w, memory_byte and cores.",
            )
        self._check("flop_s", self.flop_s.values(), least=sys.float_info.min)
        self._check("pace_s", self.pace_s.values(), least=sys.float_info.min)  # it is divided by
        for name, found in (("idle_w", [self.idle_w]), ("call_s", self.call_s.values()), ("op_s", self.op_s.values())):
            self._check(name, found, least=0.0)
        if not self.source:
            raise BadInputError(f"Nothing says where the figures of {self.name} are from.", "fill in its source.")

    def _check(self, name: str, figures: Iterable[float], least: float) -> None:
        wrong = next((each for each in figures if not least <= each < math.inf), None)
        if wrong is not None:
            raise BadInputError(
                f"The device {self.name} has the figure {wrong:g} in {name}, which cannot be.",
                "correct it or take its line out, or measure again with `pennyweight calibrate`.",
            )

    def rate(self, precision: str) -> float:
        """FLOP per second of one core in `precision`; without a figure of its own, that of float32."""
        return self.flop_s.get(precision, self.flop_s["float32"])

    def joule(self, cpu_s: float, wall_s: float) -> float:
        """Energy of `cpu_s` core-seconds of work over `wall_s` seconds, from the power of an idle and of a busy core.

        At least one core is powered all the time; every further busy core is powered while it works.
        """
        return self.idle_w * max(cpu_s, wall_s) + (self.busy_w - self.idle_w) * cpu_s


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
    rows = {row["name"]: row for row in table_of("devices.csv")}
    if name not in rows:
        raise UnknownNameError.of("device", name, rows)
    return _device_of_row(rows[name])


@cache
def this_cpu() -> Device:
    """The catalog's figures for this machine's processor; one it does not know gets the generic ones, and says so."""
    found = identity()
    rows = table_of("devices.csv")
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
    body = toml_of(path)
    known = [each.name for each in fields(Device)]
    wrong = next((key for key in body if key not in known), None)
    if wrong:
        raise UnknownNameError.of("field of a device", wrong, known)
    try:
        return Device(**body)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error.problem}", error.fix) from error
    except (TypeError, AttributeError) as error:
        raise BadInputError(f"{path} does not describe a device: {error}.", f"give {', '.join(known[:9])}.") from error
