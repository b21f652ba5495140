"""Accelerators: what each can do and draws, and how it is linked to its neighbours, as published and as measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

from pennyweight.catalog.reading import table_of
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PEAKS = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4")
_MEASURED = ("bf16", "fp8", "int8", "fp4")
_FIGURES = (
    "memory_byte",
    "hbm_byte_s",
    "busy_w",
    "idle_w",
    "fast_byte_s",
    "fast_latency_s",
    "host_byte_s",
    "net_byte_s",
    "net_latency_s",
)
_COUNTS = ("fast_devices", "node_devices")
_SAME = {"mxfp8": "fp8", "nvfp4": "fp4", "mxfp4": "fp4", "int4": "bf16"}
# What computes instead of units that are not there: numbers are widened, never narrowed.
_WIDER = {
    "fp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8", "bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "tf32", "fp32"),
    "bf16": ("bf16", "tf32", "fp32"),
    "tf32": ("tf32", "fp32"),
    "fp32": ("fp32",),
}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device: its rates, memory, power and links; `assumed` names the figures that are guesses of ours, said so.

    `flop_s` is the peak rate of dense matrix products by precision, `measured_flop_s` the best that was measured. A
    program can use `memory_byte` of its memory, at `hbm_byte_s`. `busy_w` is the power limit of the board; `idle_w` is
    a tenth of it where nothing is published. Within its fast domain of `fast_devices` a device sends `fast_byte_s` (one
    direction, all links together) after `fast_latency_s`; a machine holds `node_devices`, each with `net_byte_s` of
    network and `host_byte_s` to the memory of the host, one direction.
    """

    name: str
    aliases: tuple[str, ...]
    vendor: str
    flop_s: Mapping[str, float]
    measured_flop_s: Mapping[str, float]
    memory_byte: float
    hbm_byte_s: float
    busy_w: float
    idle_w: float
    fast_byte_s: float
    fast_devices: int
    fast_latency_s: float
    node_devices: int
    host_byte_s: float
    net_byte_s: float
    net_latency_s: float
    assumed: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        figures = {name: float(getattr(self, name)) for name in (*_FIGURES, *_COUNTS)}
        figures |= {f"flop_s.{name}": value for name, value in (*self.flop_s.items(), *self.measured_flop_s.items())}
        wrong = [name for name, value in figures.items() if not (value > 0 and math.isfinite(value))]
        if wrong or not self.flop_s:
            raise BadInputError(
                f"The accelerator {self.name} has no {(wrong or ['flop_s'])[0]} above zero.", "give it in SI units."
            )

    def __hash__(self) -> int:
        return hash(self.name)

    def units(self, precision: str) -> str:
        """The precision whose units compute `precision` here: its own, otherwise the nearest wider one.

        `mxfp8` counts as fp8, `nvfp4` and `mxfp4` as fp4; `int4` weights are multiplied in bf16.
        """
        asked = _SAME.get(precision, precision)
        if asked not in _WIDER:
            raise UnknownNameError.of("precision", precision, (*_WIDER, *_SAME))
        found = next((each for each in _WIDER[asked] if each in self.flop_s), None)
        if found is None:
            raise BadInputError(
                f"{self.name} has no known rate in {precision}.", f"use one of: {', '.join(self.flop_s)}."
            )
        return found

    def peak(self, precision: str) -> float:
        """Peak FLOP per second of dense products in `precision`, by the units that compute it."""
        return self.flop_s[self.units(precision)]

    def achievable(self, precision: str) -> float:
        """FLOP per second that large products reach in `precision`: as measured on this device.

        Without a measurement it is the share of the peak measured in another precision, bf16 first; of a device never
        measured, the median share of all others.
        """
        units = self.units(precision)
        if units in self.measured_flop_s:
            return self.measured_flop_s[units]
        other = next((each for each in _MEASURED if each in self.measured_flop_s), None)
        share = self.measured_flop_s[other] / self.flop_s[other] if other else _usual_share()
        return self.flop_s[units] * share

    def measured(self, precision: str) -> bool:
        """Whether what is achievable in `precision` was measured on this device."""
        return self.units(precision) in self.measured_flop_s


def accelerator(name: str) -> Accelerator:
    """The accelerator called `name`, or known by that alias, in any spelling of case, blanks and underscores.

    Raises `UnknownNameError` with the nearest names.
    """
    known = _by_name()
    plain = _plain(name)
    if plain not in known:
        raise UnknownNameError.of("accelerator", name, known)
    return known[plain]


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """All accelerators of the catalog."""
    return tuple(_accelerator(row) for row in table_of("accelerators.csv"))


@cache
def _usual_share() -> float:
    """The median share of the peak that was measured, over the devices and precisions of the catalog."""
    return median(rate / each.flop_s[name] for each in accelerators() for name, rate in each.measured_flop_s.items())


def _plain(name: str) -> str:
    words = name.strip().lower().replace("_", "-").replace(" ", "-")
    for maker in ("nvidia-", "amd-", "intel-", "google-", "aws-"):
        words = words.removeprefix(maker)
    return words


@cache
def _by_name() -> dict[str, Accelerator]:
    known: dict[str, Accelerator] = {}
    for each in accelerators():
        for name in (each.name, *each.aliases):
            if known.setdefault(name, each) is not each:
                raise BadInputError(f"Two accelerators are called {name}.", "give each a name of its own.")
    return known


def _accelerator(row: Mapping[str, str]) -> Accelerator:
    numbers: dict[str, Any] = {name: float(row[name]) for name in _FIGURES}
    numbers |= {name: int(row[name]) for name in _COUNTS}
    return Accelerator(
        name=row["name"],
        aliases=tuple(row["aliases"].split()),
        vendor=row["vendor"],
        flop_s={each: float(row[f"flop_s_{each}"]) for each in _PEAKS if row[f"flop_s_{each}"]},
        measured_flop_s={each: float(row[f"got_flop_s_{each}"]) for each in _MEASURED if row[f"got_flop_s_{each}"]},
        assumed=tuple(row["assumed"].split()),
        source=row["source"],
        **numbers,
    )
