"""What a stretch of work really takes: wall and CPU seconds, its own peak memory, joules, accelerator seconds."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, fields
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

from pennyweight.catalog import machine
from pennyweight.core import Cost
from pennyweight.cost.clock import process_s
from pennyweight.cost.energy import counters, cuda, tally
from pennyweight.cost.memory import peaks
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pennyweight.catalog import Device

_READ_EVERY_S = 60.0  # energy counters wrap around after some ten minutes of full load


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a window took.

    `cpu_s` are seconds of all threads of this process together (and of children that ended, if asked for), so windows
    that overlap in time each hold what the others do. `peak_byte` is the most memory resident while the window was
    open, `base_byte` what was resident when it opened. `joule_basis` says how joules are known: "rapl" and "nvml" are
    counters of the whole package or device, "estimated" is power times use. `device_s` are accelerator seconds, zero
    without one.
    """

    wall_s: float
    cpu_s: float
    peak_byte: float
    joule: float
    joule_basis: str
    device_s: float = 0.0
    base_byte: float = 0.0

    def cost(self) -> Cost:
        """The cost without dollars, which are derived; the device is the accelerator if one was used, else the CPU."""
        return Cost(device_s=self.device_s or self.cpu_s, wall_s=self.wall_s, joule=self.joule)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """The measurement that `to_dict` wrote."""
        try:
            values = {each.name: body[each.name] for each in fields(cls)}
            basis = str(values.pop("joule_basis"))
            return cls(joule_basis=basis, **{name: float(value) for name, value in values.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no record of a measurement: {error!r}.", "measure again.") from error


class Window:
    """One measuring window; windows may nest, overlap and run in different threads. Each is used once."""

    def __init__(self, device: Device, *, children: bool) -> None:
        self._device = device
        self._children = children
        self._measured: Measurement | None = None

    @property
    def measured(self) -> Measurement:
        """The measurement, once the window is closed."""
        if self._measured is None:
            raise BadInputError("The window is still open.", "read what was measured after the with block.")
        return self._measured

    def __enter__(self) -> Self:
        self._peak = peaks().open()
        self._counters = counters()
        self._stop = self._keep_reading()
        self._joules = {each.basis: each.read_j() for each in self._counters}
        self._event = _mark()
        self._wall_s, self._cpu_s = time.perf_counter(), _cpu_s(children=self._children)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        device_s = _since(self._event)
        cpu_s = _cpu_s(children=self._children) - self._cpu_s
        wall_s = time.perf_counter() - self._wall_s
        counted = {each.basis: each.read_j() - self._joules[each.basis] for each in self._counters}
        if self._stop is not None:
            self._stop.set()
        base_byte, peak_byte = peaks().close(self._peak)
        joule, basis = tally(counted, self._device, cpu_s, wall_s)
        self._measured = Measurement(wall_s, cpu_s, peak_byte, joule, basis, device_s, base_byte)

    def _keep_reading(self) -> Event | None:
        if not self._counters:
            return None
        stop = Event()

        def read() -> None:
            while not stop.wait(_READ_EVERY_S):
                for each in self._counters:
                    each.read_j()

        Thread(target=read, name="energy", daemon=True).start()
        return stop


def meter(*, children: bool = False, device: Device | None = None) -> Window:
    """A window to measure in.

    ``with meter() as window: work()``, then ``window.measured`` is there. With `children`, CPU seconds of child
    processes that ended inside the window count too. `device` gives the power of idle and busy cores for the estimate
    of energy; by default it is this machine's.
    """
    return Window(device or machine(), children=children)


def _cpu_s(*, children: bool) -> float:
    own_s = process_s()
    if not children:
        return own_s
    times = os.times()
    return own_s + times.children_user + times.children_system


def _mark() -> Any:
    accelerator = cuda()
    if accelerator is None:
        return None
    event = accelerator.Event(enable_timing=True)
    event.record()
    return event


def _since(start: Any) -> float:
    if start is None:
        return 0.0
    end = _mark()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3
