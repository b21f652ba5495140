"""The receipts of a run: every second and joule of it on the ledger, by part, and the reason of every decision."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, final

from pennyweight.core import Cost, Phase
from pennyweight.cost.meter import meter
from pennyweight.cost.price import price
from pennyweight.store.records import Entry
from pennyweight.train.clock import Clock, Part, Took

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.cost.meter import Measurement, Window
    from pennyweight.engine import Shop
    from pennyweight.training.folder import Folder

_FLUSH_S = 5.0
_LOOK_S = 0.05  # reading the CPU seconds of all threads takes microseconds, so not after every step


@final
class Receipts:
    """What a run has spent, earlier visits included; `workers` of its kind work at the same time.

    What is measured between two calls of `flush` becomes an entry per part, so that a process that is killed loses at
    most what came after the last call.
    """

    def __init__(self, folder: Folder, shop: Shop, workers: int = 1) -> None:
        self.clock = Clock()
        self.folder, self.shop, self.workers = folder, shop, workers
        self.asked = folder.asked
        self._before = sum(self.parts().values(), Cost())
        self._own = Cost()
        self._counted: Mapping[Part, Took] = {}
        self._window = _opened()
        self._flushed, self._peak = self.clock.total, 0.0
        self._looked_s, self._spent = 0.0, Cost()
        self._flushed_s = self._charged_s = 0.0

    @property
    def spent(self) -> Cost:
        """What the run has cost up to this moment, in seconds, joules and dollars."""
        if time.perf_counter() - self._looked_s > _LOOK_S:
            self._spent, self._looked_s = self._now(), time.perf_counter()
        return self._spent

    def parts(self) -> dict[str, Cost]:
        """What each part of the run has cost, as the ledger has it: all visits, all workers."""
        found: defaultdict[str, Cost] = defaultdict(Cost)
        for entry in self.shop.ledger.entries(self.asked.job, phase=Phase.TRAIN):
            if entry.note.get("run") == self.folder.name and "part" in entry.note:
                found[entry.note["part"]] += price(entry.cost, entry.peak_byte, self.shop.sheet)
        return {part: found[part] for part in Part if part in found}

    def flush_sometimes(self) -> None:
        """As `flush`, but not sooner than seconds after the last time: an entry takes a flush of the disk."""
        if time.perf_counter() - self._flushed_s > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Put what was spent since the last time on the ledger."""
        self._flushed_s = time.perf_counter()
        self._window.__exit__(None, None, None)
        measured = self._window.measured
        self._window = _opened()
        before, self._counted, self._flushed = self._counted, self.clock.counted(), self.clock.total
        since = {part: took - before.get(part, Took()) for part, took in self._counted.items()}
        self._peak = measured.peak_byte
        for part, cost in _split(measured, since).items():
            self._own += price(cost, measured.peak_byte, self.shop.sheet)
            self._append(cost, {"what": "train", "part": part.value}, measured)
        elsewhere = self._elsewhere()
        if elsewhere.device_s:
            self._own += price(elsewhere, 0.0, self.shop.sheet)
            self._append(elsewhere, {"what": "train", "part": Part.WORKERS.value})
            self._charged_s += elsewhere.device_s
        self._looked_s = 0.0

    def decide(self, decision: str, reason: str, **more: Any) -> None:
        """Put a decision and its reason on the ledger, and say it."""
        self._append(Cost(), {"what": "decision", "decision": decision, "reason": reason, **more})
        self.shop.watch("decision", text=reason, decision=decision)

    def _elsewhere(self) -> Cost:
        """What processes that this one has started spent since the last time; their time on the clock is its own."""
        cpu_s = max(0.0, self.clock.elsewhere_s - self._charged_s)
        return Cost(cpu_s, 0.0, self.shop.device.joule(cpu_s, 0.0))

    def _now(self) -> Cost:
        since = self.clock.total - self._flushed
        joule = self.shop.device.joule(since.cpu_s, since.wall_s)
        here = Cost(since.cpu_s, since.wall_s, joule) + self._elsewhere()
        own = self._own + price(here, self._peak, self.shop.sheet)
        all_of = Cost(own.device_s * self.workers, own.wall_s, own.joule * self.workers, own.usd * self.workers)
        return self._before + all_of

    def _append(self, cost: Cost, note: dict[str, Any], measured: Measurement | None = None) -> None:
        asked = self.asked
        self.shop.ledger.append(
            Entry(
                self.shop.session,
                asked.job,
                Phase.TRAIN,
                cost,
                fingerprint=asked.fingerprint,
                plan_text=f"train {self.folder.name}",
                joule_basis=measured.joule_basis if measured else "",
                peak_byte=measured.peak_byte if measured else 0.0,
                sheet=self.shop.sheet.id,
                note={**note, "run": self.folder.name},
            )
        )


def _opened() -> Window:
    with ExitStack() as stack:
        window = stack.enter_context(meter())
        stack.pop_all()
    return window


def _split(measured: Measurement, since: Mapping[Part, Took]) -> dict[Part, Cost]:
    """The measured cost by part, in proportion to the CPU seconds and the seconds on the clock of each."""
    whole, all_of = sum(since.values(), Took()), measured.cost()
    found = {}
    for part, took in since.items():
        cpu = took.cpu_s / whole.cpu_s if whole.cpu_s else 0.0
        wall = took.wall_s / whole.wall_s if whole.wall_s else 0.0
        if cpu or wall:
            found[part] = Cost(all_of.device_s * cpu, all_of.wall_s * wall, all_of.joule * cpu)
    return found
