"""Joules of a window: from the machine's own counters where it has them, otherwise estimated and labelled so."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.catalog import Device

POWERCAP = Path("/sys/class/powercap")
ESTIMATED = "estimated"


class Counter(Protocol):
    """Something that counts joules; `basis` says what."""

    basis: str

    def read_j(self) -> float:
        """Joules since some fixed moment; never falls."""


class Rapl:
    """The energy counters of the processor packages (Linux powercap, Intel and AMD).

    They count the WHOLE package, other processes included, and wrap around after some minutes under load, so a window
    must be read more often than that: `meter` does.
    """

    basis = "rapl"

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = zones
        self._ranges = [_microjoule(zone / "max_energy_range_uj") for zone in zones]
        self._last = [_microjoule(zone / "energy_uj") for zone in zones]
        self._total_uj = 0
        self._lock = Lock()

    def read_j(self) -> float:
        """Joules of all packages since this counter was made."""
        with self._lock:
            now = [_microjoule(zone / "energy_uj") for zone in self._zones]
            for value, last, limit in zip(now, self._last, self._ranges, strict=True):
                self._total_uj += value - last if value >= last else value - last + limit
            self._last = now
            return self._total_uj / 1e6

    @classmethod
    def found(cls, root: Path = POWERCAP) -> list[Rapl]:
        """One counter over all readable packages (``intel-rapl:0``, not their parts ``intel-rapl:0:0``), or none."""
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
        readable = [zone for zone in zones if _readable(zone / "energy_uj")]
        return [cls(readable)] if readable else []


class Nvml:
    """The energy counters of all NVIDIA devices, through the library `pynvml`; from the Volta generation on."""

    basis = "nvml"

    def __init__(self, library: Any) -> None:
        self._library = library
        library.nvmlInit()
        self._handles = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]

    def read_j(self) -> float:
        """Joules of all devices since the driver was loaded."""
        return sum(float(self._library.nvmlDeviceGetTotalEnergyConsumption(each)) for each in self._handles) / 1e3

    @classmethod
    def found(cls) -> list[Nvml]:
        """One counter over all devices if `pynvml` is installed and finds some that count, or none."""
        if find_spec("pynvml") is None:
            return []
        library = import_module("pynvml")
        try:
            counter = cls(library)
            counter.read_j()
        except library.NVMLError:
            return []
        return [counter] if counter._handles else []


@cache
def counters() -> tuple[Counter, ...]:
    """The energy counters this machine has, looked for once."""
    return (*Rapl.found(), *Nvml.found())


def tally(counted: dict[str, float], device: Device, cpu_s: float, wall_s: float) -> tuple[float, str]:
    """Joules of a window and how they are known, such as ``"rapl"`` or ``"estimated+nvml"``.

    `counted` are the joules by counter. The processor's share is estimated from the power of the device's idle and busy
    cores (`Device.joule`) where there is no counter for it.
    """
    processor = {} if Rapl.basis in counted else {ESTIMATED: device.joule(cpu_s, wall_s)}
    parts = {**processor, **counted}
    return sum(parts.values()), "+".join(parts)


def cuda() -> Any:
    """`torch.cuda` if this process has loaded torch and there is a device, otherwise None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _microjoule(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _readable(file: Path) -> bool:
    try:
        _microjoule(file)
    except (OSError, ValueError):
        return False
    return True
