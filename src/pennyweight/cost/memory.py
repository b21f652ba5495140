"""The peak memory of overlapping windows: the kernel's own high-water mark where it can be reset, samples elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Event, Lock, RLock, Thread
from typing import Protocol

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # man 5 proc: resets the peak resident set size to its current value
_SAMPLE_S = 0.005
_FIRST = Lock()


class Peaks(Protocol):
    """Keeps the peak of every open window."""

    def open(self) -> int:
        """Start a window; returns its number."""

    def close(self, window: int) -> tuple[float, float]:
        """End a window: bytes resident when it started, and the most that was resident while it was open."""


class HighWater:
    """Exact peaks from the kernel: the mark is folded into all open windows before it is reset for a new one.

    Exact up to the kernel's own bookkeeping, which counts pages in batches of some hundred kilobytes per thread. The
    mark belongs to the whole process: what else reads `VmHWM` or `ru_maxrss` sees the peak since the last reset.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: dict[int, tuple[float, float]] = {}
        self._next = 0
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")

    def open(self) -> int:
        """Start a window; returns its number."""
        with self._lock:
            self._fold()
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
            resident_byte = _status_byte("VmRSS")
            self._next += 1
            self._open[self._next] = (resident_byte, resident_byte)
            return self._next

    def close(self, window: int) -> tuple[float, float]:
        """End a window: bytes resident when it started, and the most that was resident while it was open."""
        with self._lock:
            self._fold()
            return self._open.pop(window)

    def _fold(self) -> None:
        if self._open:
            mark = _status_byte("VmHWM")
            self._open = {key: (start, max(peak, mark)) for key, (start, peak) in self._open.items()}


class Sampled:
    """Peaks seen by a light thread that looks every few milliseconds; shorter spikes are missed."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._open: dict[int, tuple[float, float]] = {}
        self._next = 0
        self._stop: Event | None = None

    def open(self) -> int:
        """Start a window; returns its number."""
        with self._lock:
            resident_byte = resident()
            self._next += 1
            self._open[self._next] = (resident_byte, resident_byte)
            if self._stop is None:
                self._stop = Event()
                Thread(target=self._watch, args=(self._stop,), name="peak-memory", daemon=True).start()
            return self._next

    def close(self, window: int) -> tuple[float, float]:
        """End a window: bytes resident when it started, and the most that was seen while it was open."""
        with self._lock:
            self._look()
            found = self._open.pop(window)
            if not self._open and self._stop is not None:
                self._stop.set()
                self._stop = None
            return found

    def _watch(self, stop: Event) -> None:
        while not stop.wait(_SAMPLE_S):
            with self._lock:
                self._look()

    def _look(self) -> None:
        now = resident()
        self._open = {key: (start, max(peak, now)) for key, (start, peak) in self._open.items()}


def resident() -> float:
    """Bytes of this process in memory now."""
    if _STATUS.exists():
        return _status_byte("VmRSS")
    import psutil

    return float(psutil.Process().memory_info().rss)


def peaks() -> Peaks:
    """The one keeper of peaks of this process: exact where the kernel lets us reset its mark."""
    with _FIRST:
        return _keeper()


@cache
def _keeper() -> Peaks:
    try:
        return HighWater()
    except OSError:
        return Sampled()


def _status_byte(field: str) -> float:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024.0
    return 0.0
