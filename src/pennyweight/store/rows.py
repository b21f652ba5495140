"""Entries and records as rows of the ledger's tables, and rows as entries and records again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pennyweight.core import Basis, Cost, Count, Phase, Score, Spec
from pennyweight.core.artifact import canonical
from pennyweight.cost.price import Parts
from pennyweight.errors import CorruptError
from pennyweight.store.codec import from_json, to_json
from pennyweight.store.records import Entry, RunRecord

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_SAME_IN_ENTRY = (
    *("session", "job", "fingerprint", "plan_key", "plan_text"),
    *("lever", "joule_basis", "sheet"),
)
_SAME_IN_RUN = (
    *("session", "job", "fingerprint", "plan_key", "plan_text"),
    *("seed", "artifact", "sheet"),
)


def now() -> str:
    """The present moment in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sealed(row: dict[str, object]) -> dict[str, object]:
    """The row as SQLite will give it back, with a seal over all of its columns."""
    kept = {name: value + 0.0 if isinstance(value, float) else value for name, value in row.items()}  # no -0.0
    return kept | {"seal": _seal(kept)}


def verify(row: sqlite3.Row, path: Path) -> None:
    """Raise `CorruptError` if a row of the ledger at `path` is not what was written."""
    columns = dict(zip(row.keys(), row, strict=True))
    number, seal = columns.pop("id"), columns.pop("seal")
    if seal != _seal(columns):
        raise CorruptError(f"Row {number} of {path} has changed since it was written.", "restore it from a backup.")


def _seal(columns: dict[str, object]) -> str:
    return sha256(canonical(columns)).hexdigest()


def row_of_entry(entry: Entry) -> dict[str, object]:
    """The columns of an entry, without its dollars."""
    return {name: getattr(entry, name) for name in _SAME_IN_ENTRY} | {
        "at_utc": entry.at_utc or now(),
        "phase": entry.phase.value,
        "basis": entry.basis.value,
        "peak_byte": float(entry.peak_byte),
        "wall_s": float(entry.cost.wall_s),
        "device_s": float(entry.cost.device_s),
        "joule": float(entry.cost.joule),
        "count": to_json(entry.count),
        "note": to_json(entry.note),
    }


def entry_of_row(row: sqlite3.Row) -> Entry:
    """The entry that `row_of_entry` made a row of."""
    same: dict[str, Any] = {name: row[name] for name in _SAME_IN_ENTRY}
    return Entry(
        **same,
        id=row["id"],
        at_utc=row["at_utc"],
        peak_byte=row["peak_byte"],
        phase=Phase(row["phase"]),
        basis=Basis(row["basis"]),
        cost=Cost(device_s=row["device_s"], wall_s=row["wall_s"], joule=row["joule"]),
        count=None if row["count"] == "null" else from_json(Count, row["count"]),
        note=_note(row),
    )


def row_of_run(run: RunRecord) -> dict[str, object]:
    """The columns of a record, without its dollars."""
    return {name: getattr(run, name) for name in _SAME_IN_RUN} | {
        "at_utc": run.at_utc or now(),
        "fidelity": float(run.fidelity),
        "spec": to_json(run.spec),
        "score": to_json(run.score),
        "others": to_json(run.others),
        "measured": to_json(_free(run.measured)),
        "predicted": to_json(run.predicted and _free(run.predicted)),
        "note": to_json(run.note),
    }


def run_of_row(row: sqlite3.Row) -> RunRecord:
    """The record that `row_of_run` made a row of."""
    same: dict[str, Any] = {name: row[name] for name in _SAME_IN_RUN}
    measured = from_json(Parts, row["measured"])
    return RunRecord(
        **same,
        id=row["id"],
        at_utc=row["at_utc"],
        fidelity=row["fidelity"],
        spec=from_json(Spec, row["spec"]),
        score=from_json(Score, row["score"]),
        others=from_json(tuple[Score, ...], row["others"]),
        unit=measured.unit,
        train=measured.train,
        tune=measured.tune,
        memory_byte=measured.memory_byte,
        disk_byte=measured.disk_byte,
        train_byte=measured.train_byte,
        error=measured.error,
        predicted=None if row["predicted"] == "null" else from_json(Parts, row["predicted"]),
        note=_note(row),
    )


def _free(parts: Parts) -> Parts:
    """The same parts without dollars, which follow from a price sheet."""
    unit, train, tune = (replace(cost, usd=0.0) for cost in (parts.unit, parts.train, parts.tune))
    return replace(parts, unit=unit, train=train, tune=tune)


def _note(row: sqlite3.Row) -> dict[str, Any]:
    try:
        note = json.loads(row["note"])
    except ValueError as error:
        raise CorruptError(f"The note of row {row['id']} is no JSON.", "restore the ledger from a backup.") from error
    return dict(note)
