"""From measured rows of one's own to a file that moves every later prediction, and back.

A kind of table that knows a way of its own to learn from a few rows (`tables.finding.own_way`) keeps these rows in the
file; every other kind keeps a `Correction` per target.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.catalog.reading import toml_of
from pennyweight.errors import BadInputError, PennyweightError, StorageError, UnknownNameError
from pennyweight.layout.correction import Correction, apply, learn
from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.score import score
from pennyweight.layout.scoring.taught import Taught
from pennyweight.layout.tables.accelerators import named
from pennyweight.layout.tables.finding import completed, kind_named, kind_of, own_way, shipped
from pennyweight.layout.tables.table import Learnt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pennyweight.layout.tables.table import Forecast, Table

_MOST_ROWS = 200  # kept of a kind that learns from them in its own way: it does so again whenever the file is read
_HEAD = (
    "# How measured rows of your own differ from what pennyweight predicts, per kind of table and target:\n"
    "# measured = predicted * exp(offset), 90% of rows within exp(± t(0.95, freedom) * hypot(deviation, doubt)).\n"
)
_DEVICES = ("accelerator", "system")  # columns that say what a row was measured on
_SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Corrected(Learnt):
    """What ships, with corrections of some targets."""

    learnt: Learnt
    corrections: Mapping[str, Correction]

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target, moved where it has a correction."""
        told = self.learnt.predict(rows)
        moved = {name: apply(told[name], each) for name, each in self.corrections.items() if name in told}
        return {**told, **moved}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {"corrections": {name: each.to_dict() for name, each in self.corrections.items()}}


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was taught, by kind of table; an immutable value that is kept as TOML."""

    kinds: Mapping[str, Taught]

    def learnt(self, kind: str) -> Learnt:
        """What ships for a kind, moved as its rows taught; as it ships, if none did."""
        taught, learnt = self.kinds.get(kind), shipped(kind)
        if taught is None:
            return learnt
        way = own_way(kind_named(kind))
        if taught.rows is not None and way is not None:
            return way(learnt, taught.rows)
        return Corrected(learnt, taught.corrections)

    def with_kind(self, kind: str, taught: Taught) -> Self:
        """The same, where a kind was taught anew."""
        return replace(self, kinds={**self.kinds, kind: taught})

    def text(self) -> str:
        """As TOML."""
        return "".join([_HEAD, *(taught.text(kind) for kind, taught in sorted(self.kinds.items()))])

    def save(self, path: Path) -> None:
        """Write it to `path`; all of it appears, or nothing."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(self.text(), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise StorageError(
                f"The calibration cannot be kept at {path}: {error.strerror}.",
                "give a file in a folder you may write to.",
            ) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote; a file that is none is refused."""
        try:
            return cls({kind: Taught.restore(kind, body) for kind, body in toml_of(path).items()})
        except PennyweightError as error:
            if isinstance(error, BadInputError) and str(path) not in error.problem:
                raise BadInputError(f"{path} is no calibration: {error.problem}", error.fix) from error
            raise


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a table taught, and what became of its rows.

    So many were `used`; others, by line, were `left_out` for want of a measurement or prediction, and why. `misfits`
    are the lines by target that differ too much from the others.
    """

    kind: str
    taught: Taught
    used: int
    left_out: tuple[tuple[int, str], ...]
    misfits: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))


def learn_own(path: Path, name: str | None = None) -> Lesson:
    """Learn from a table of one's own, of the kind `name`, which is by default the one its columns tell.

    Raises `BadInputError` for a ledger, for columns of no kind, and where no row can be compared with its prediction.
    """
    _refuse_ledger(path)
    rows = Rows.read(path)
    kind = kind_named(name) if name else kind_of(rows)
    scored = score(rows, kind=kind)
    targets = {each.name: each for each in scored.targets if each.told.any()}
    used = np.any([each.told for each in scored.targets], axis=0)
    left = tuple((int(rows.lines[at]), str(scored.notes[at]) or "nothing was measured") for at in np.flatnonzero(~used))
    if not targets:
        raise BadInputError(
            f"No row of {path} has both a measurement and a prediction.", f"look at line {left[0][0]}: {left[0][1]}."
        )
    when, way = f"{datetime.now(UTC):%Y-%m-%d}", own_way(kind)
    if way is not None:
        kept = _kept(completed(rows, kind).take(np.flatnonzero(used)), kind)
        way(shipped(kind.name), kept)  # refuses now what it would refuse later
        taught = Taught(path.name, when, rows=kept, accelerators=_accelerators(kept))
        return Lesson(kind.name, taught, int(used.sum()), left)
    found = {target: learn(each.measured, each.forecast) for target, each in targets.items()}
    corrections = {target: correction for target, (correction, _) in found.items()}
    taught = Taught(path.name, when, corrections, accelerators=_accelerators(rows.take(np.flatnonzero(used))))
    misfits = {target: tuple(rows.lines[odd].tolist()) for target, (_, odd) in found.items()}
    return Lesson(kind.name, taught, int(used.sum()), left, misfits)


def _kept(rows: Rows, kind: Table) -> Rows:
    """The rows without the columns that say nothing."""
    if len(rows) > _MOST_ROWS:
        raise BadInputError(
            f"{len(rows)} rows are too many to calibrate {kind.name} with.", f"give at most {_MOST_ROWS}; 10 to 20 do."
        )
    said = {name for name, column in rows.columns.items() if np.char.str_len(np.char.strip(column)).any()}
    return Rows({name: rows.columns[name] for name in rows.columns if name in said | kind.columns}, rows.lines)


def _accelerators(rows: Rows) -> tuple[str, ...]:
    """Names in the catalog of the accelerators that rows say they are of; those that nobody knows are left out."""
    column = next((name for name in _DEVICES if name in rows.columns), None)
    found = set()
    for text in np.unique(rows.text(column)).tolist() if column else ():
        with suppress(UnknownNameError):
            found.add(named(text).name)
    return tuple(sorted(found))


def _refuse_ledger(path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = file.read(len(_SQLITE))
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}.", "check the path.") from error
    if found == _SQLITE:
        raise BadInputError(
            f"{path} is a ledger: it holds whole jobs of one machine, not steps with their model, layout and devices.",
            "give a CSV of steps or requests; predictions of jobs learn from their ledger by themselves.",
        )
