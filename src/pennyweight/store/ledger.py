"""The append-only book of every cost and every run, in seconds, joules and bytes; dollars follow from price sheets."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, final

from pennyweight.core import Basis, Cost, Look
from pennyweight.cost.price import PriceSheet, price
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.codec import from_json, to_json
from pennyweight.store.database import connect, explained
from pennyweight.store.records import Entry, RunRecord, Spent
from pennyweight.store.rows import entry_of_row, now, row_of_entry, row_of_run, run_of_row, sealed, verify
from pennyweight.store.schema import LEDGER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from pennyweight.core import Phase

By = Literal["job", "phase", "lever", "day", "part"]

_ADD_ENTRY = """
INSERT INTO entry (at_utc, session, job, fingerprint, plan_key, plan_text, lever, phase, basis, wall_s, device_s,
  joule, joule_basis, peak_byte, count, sheet, note, seal)
VALUES (:at_utc, :session, :job, :fingerprint, :plan_key, :plan_text, :lever, :phase, :basis, :wall_s, :device_s,
  :joule, :joule_basis, :peak_byte, :count, :sheet, :note, :seal)"""

_ADD_RUN = """
INSERT INTO run (at_utc, session, job, fingerprint, plan_key, plan_text, fidelity, seed, spec, score, others,
  measured, predicted, artifact, sheet, note, seal)
VALUES (:at_utc, :session, :job, :fingerprint, :plan_key, :plan_text, :fidelity, :seed, :spec, :score, :others,
  :measured, :predicted, :artifact, :sheet, :note, :seal)"""

_ADD_LOOK = """
INSERT INTO look (at_utc, session, job, fingerprint, number, body, seal)
VALUES (:at_utc, :session, :job, :fingerprint, :number, :body, :seal) ON CONFLICT (fingerprint, number) DO NOTHING"""

_ALL = (
    "SELECT * FROM entry ORDER BY id",
    "SELECT * FROM run ORDER BY id",
    "SELECT * FROM look ORDER BY id",
    "SELECT * FROM sheet ORDER BY id",
)


@final
class Ledger:
    """The ledger at `path`, made if there is none. Several threads and processes may append at the same time.

    What `append` and `record` have returned for is on the disk, whatever happens next. Rows are never changed or
    deleted; the database itself refuses.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._link = connect(self.path, LEDGER)
        self._process = os.getpid()

    def append(self, entry: Entry) -> int:
        """Add one cost and return its id; the dollars in its cost are not kept."""
        return self._add(_ADD_ENTRY, row_of_entry(entry))

    def record(self, run: RunRecord) -> int:
        """Add one plan carried out and return its id; no dollars are kept."""
        return self._add(_ADD_RUN, row_of_run(run))

    def look(self, look: Look, *, job: str, fingerprint: str, session: str) -> bool:
        """Add one look at a job's certify split; False if the job has a look of that number already."""
        row: dict[str, object] = {"at_utc": now(), "session": session, "job": job, "fingerprint": fingerprint}
        return self._add(_ADD_LOOK, row | {"number": look.number, "body": to_json(look)}) > 0

    def looks(self, fingerprint: str) -> tuple[Look, ...]:
        """All looks at the certify split of a job, in order."""
        rows = self._rows("SELECT * FROM look WHERE fingerprint = :f ORDER BY number", {"f": fingerprint})
        return tuple(from_json(Look, row["body"]) for row in rows)

    def keep(self, sheet: PriceSheet) -> None:
        """Keep a price sheet under its id; a corrected sheet of the same id replaces it in all sums, past ones too."""
        if self.sheets.get(sheet.id) != sheet:
            row: dict[str, object] = {"at_utc": now(), "name": sheet.id, "body": to_json(sheet)}
            self._add("INSERT INTO sheet (at_utc, name, body, seal) VALUES (:at_utc, :name, :body, :seal)", row)

    @property
    def sheets(self) -> dict[str, PriceSheet]:
        """The latest price sheet of each id."""
        rows = self._rows(_ALL[-1], {})
        found = [from_json(PriceSheet, row["body"]) for row in rows]
        return {sheet.id: sheet for sheet in found}

    def find(self, job_fingerprint: str, plan_key: str) -> RunRecord | None:
        """The latest record of a plan on a job, None if it was never carried out."""
        sql = "SELECT * FROM run WHERE fingerprint = :f AND plan_key = :p ORDER BY id DESC LIMIT 1"
        rows = self._rows(sql, {"f": job_fingerprint, "p": plan_key})
        return run_of_row(rows[0]) if rows else None

    def runs(self, job: str | None = None) -> list[RunRecord]:
        """All records (of the job of that name), in the order they were added."""
        rows = self._rows("SELECT * FROM run WHERE :job IS NULL OR job = :job ORDER BY id", {"job": job})
        return [run_of_row(row) for row in rows]

    def run(self, id_: int) -> RunRecord | None:
        """The record of that number, None if there is none."""
        rows = self._rows("SELECT * FROM run WHERE id = :id", {"id": str(id_)})
        return run_of_row(rows[0]) if rows else None

    def latest(self, most: int) -> list[RunRecord]:
        """The newest records, newest first; takes as long for a long ledger as for a short one."""
        rows = self._rows("SELECT * FROM run ORDER BY id DESC LIMIT CAST(:most AS INTEGER)", {"most": str(most)})
        return [run_of_row(row) for row in rows]

    def entries(
        self,
        job: str | None = None,
        *,
        session: str | None = None,
        phase: Phase | None = None,
        basis: Basis | None = None,
    ) -> list[Entry]:
        """All costs, in the order they were added; what is given narrows them down."""
        sql = """SELECT * FROM entry WHERE (:job IS NULL OR job = :job) AND (:session IS NULL OR session = :session)
          AND (:phase IS NULL OR phase = :phase) AND (:basis IS NULL OR basis = :basis) ORDER BY id"""
        chosen = {"job": job, "session": session, "phase": phase, "basis": basis and basis.value}
        return [entry_of_row(row) for row in self._rows(sql, chosen)]

    def spent(self, by: By = "job", basis: Basis = Basis.MEASURED) -> list[Spent]:
        """The summed cost of all entries of one basis, dearest first, in dollars of the price sheets kept now.

        An entry without a known sheet counts with its seconds and joules and is told in `unpriced`. By "part", only
        what trainings spent on a part of their own (data, forward, backward …) is summed up.
        """
        key, sheets = _KEYS[by], self.sheets
        sums: defaultdict[str, Spent] = defaultdict(lambda: Spent("", Cost(), 0))
        for entry in self.entries(basis=basis):
            if by == "part" and not key(entry):
                continue
            sheet, old, name = sheets.get(entry.sheet), sums[key(entry)], key(entry)
            cost = price(entry.cost, entry.peak_byte, sheet) if sheet else entry.cost
            sums[name] = Spent(name, old.cost + cost, old.entries + 1, old.unpriced + (sheet is None))
        return sorted(sums.values(), key=lambda row: (-row.cost.usd, -row.cost.wall_s, row.key))

    def check(self) -> None:
        """Read every page and every row; raises `CorruptError` if the file is damaged anywhere."""
        with self._lock, explained(self.path):
            faults = [row[0] for row in self._open().execute("PRAGMA integrity_check")]
        if faults != ["ok"]:
            raise CorruptError(f"{self.path} is damaged: {faults[0]}.", "restore it from a backup, or move it away.")
        for everything in _ALL:
            self._rows(everything, {})

    def close(self) -> None:
        """Close the file; what was acknowledged is on the disk already."""
        with self._lock:
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Entry]:
        """All entries, oldest first."""
        return iter(self.entries())

    def _rows(self, sql: str, values: dict[str, str | None]) -> list[sqlite3.Row]:
        with self._lock, explained(self.path):
            rows: list[sqlite3.Row] = self._open().execute(sql, values).fetchall()
        for row in rows:
            verify(row, self.path)
        return rows

    def _add(self, sql: str, row: dict[str, object]) -> int:
        """Add a row and return its id; 0 if the statement found that there is one already."""
        try:
            with self._lock, explained(self.path):
                done = self._open().execute(sql, sealed(row))
        except (UnicodeEncodeError, OverflowError) as error:
            raise BadInputError(f"A ledger cannot hold this: {error}.", "use plain text and 64-bit numbers.") from error
        return done.lastrowid or 0 if done.rowcount else 0

    def _open(self) -> sqlite3.Connection:
        """The connection; a forked child gets one of its own, for SQLite's must not cross a fork."""
        if self._process != os.getpid():
            self._inherited = self._link  # closing it here would take the parent's locks away
            self._link = connect(self.path, LEDGER)
            self._process = os.getpid()
        return self._link


_KEYS: dict[By, Callable[[Entry], str]] = {
    "job": lambda entry: entry.job,
    "phase": lambda entry: entry.phase.value,
    "lever": lambda entry: entry.lever,
    "day": lambda entry: entry.at_utc[:10],
    "part": lambda entry: str(entry.note.get("part", "")),
}
