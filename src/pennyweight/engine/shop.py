"""The place where plans are carried out: the ledger, the artifacts, the prices and the machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from pennyweight.catalog import home as data_home
from pennyweight.catalog import load_prices, machine
from pennyweight.core import Spec
from pennyweight.cost.predict import Observation, Predictor
from pennyweight.engine.making import waited
from pennyweight.store import home
from pennyweight.store.artifacts import ArtifactStore
from pennyweight.store.codec import build
from pennyweight.store.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.catalog import Device, PriceSheet
    from pennyweight.core import Job
    from pennyweight.store.records import RunRecord


class Watcher(Protocol):
    """Whoever wants to know how the work goes."""

    def __call__(self, event: str, **facts: Any) -> None:
        """Hear that `event` happened."""


def silence(event: str, **facts: Any) -> None:
    """Hear nothing."""


def _session() -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"


@dataclass(frozen=True)
class Shop:
    """Where plans are carried out and receipts kept; `session` names this visit on the ledger.

    With `recall`, a plan that is on the ledger already is not carried out again.
    """

    ledger: Ledger
    artifacts: ArtifactStore
    sheet: PriceSheet
    device: Device
    watch: Watcher = silence
    recall: bool = True
    session: str = field(default_factory=_session)

    @classmethod
    def at(
        cls, root: Path | None = None, *, prices: str = "local", watch: Watcher = silence, recall: bool = True
    ) -> Self:
        """Open the shop in folder `root` (default: `store.home()`), with a price sheet by name or file."""
        where = root or home()
        sheet = load_prices(prices)
        ledger = Ledger(where / "ledger.db")
        ledger.keep(sheet)
        return cls(ledger, ArtifactStore(where / "artifacts"), sheet, machine(), watch, recall)

    def predictor(self, job: Job) -> Predictor:
        """A predictor for this machine that has learned from the exercises and every run on the ledger but `job`'s.

        Of what was carried out more than once, the latest counts. The job's own runs teach it as they are recalled, in
        their order: a search that goes on asks what the first one asked.
        """
        known = [*(_exercised() if self.device.measured else ()), *self.ledger.runs()]
        latest = {(run.fingerprint, run.plan_key): run for run in known if run.fingerprint != job.fingerprint}
        return Predictor(self.device, self.sheet).learn([observed(run) for run in latest.values()])


def exercise_home() -> Path:
    """Where the exercises of this machine are kept, beside what calibration measured."""
    return data_home() / "exercises"


def _exercised() -> list[RunRecord]:
    file = exercise_home() / "ledger.db"
    if not file.is_file():
        return []
    with Ledger(file) as ledger:
        return ledger.runs()


def observed(record: RunRecord) -> Observation:
    """What a run on the ledger teaches the predictor."""
    trained = build(Spec, record.note["trained"]) if "trained" in record.note else None
    worked_s = max(0.0, record.train.device_s - waited(record.spec).device_s)
    return Observation(record.spec, record.unit.device_s, worked_s, record.tune.device_s, record.memory_byte, trained)
