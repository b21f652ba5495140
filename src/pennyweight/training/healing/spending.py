"""What a healing has spent, earlier visits included, and the entries of the ledger about it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Cost, Phase
from pennyweight.cost.clock import process_s
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.engine.booking import book
from pennyweight.engine.shop import Shop

if TYPE_CHECKING:
    from pennyweight.cost.meter import Window

_LOOK_S = 0.05


@final
class Spending:
    """Adds up what is spent from now on; `before` is what earlier visits spent (seconds of a core, clock, joule).

    What was measured is booked when it is asked for (`flush`), so a process that is killed loses what came since.
    """

    def __init__(self, title: str, how: str, before: Cost) -> None:
        self._title, self._how = title, how
        self._shop = Shop.at()
        self._booked, self.peak_byte, self.basis = before, 0.0, ""
        self._looked_s, self._spent = 0.0, before
        self._open()

    @property
    def spent(self) -> Cost:
        """What all of it has cost up to this moment, with dollars."""
        import psutil

        if time.perf_counter() - self._looked_s > _LOOK_S:
            cpu_s, wall_s = process_s() - self._began[0], time.perf_counter() - self._began[1]
            here = Cost(cpu_s, wall_s, self._shop.device.joule(cpu_s, wall_s))
            self.peak_byte = max(self.peak_byte, float(psutil.Process().memory_info().rss))
            self._spent = price(self._booked + here, self.peak_byte, self._shop.sheet)
            self._looked_s = time.perf_counter()
        return self._spent

    def look(self) -> Cost:
        """What all of it has cost up to this very moment."""
        self._looked_s = 0.0
        return self.spent

    def flush(self, note: dict[str, Any]) -> Cost:
        """Book what was measured since the last time, with a note; returns what all of it has cost."""
        self._window.__exit__(None, None, None)
        measured = self._window.measured
        self._booked += measured.cost()
        self.peak_byte, self.basis = max(self.peak_byte, measured.peak_byte), measured.joule_basis
        self._open()
        book(self._title, Phase.TRAIN, measured, self._how, note)
        return price(self._booked, self.peak_byte, self._shop.sheet)

    def _open(self) -> None:
        self._began = (process_s(), time.perf_counter())
        self._window = _opened()


def _opened() -> Window:
    with ExitStack() as stack:
        window = stack.enter_context(meter())
        stack.pop_all()
    return window
