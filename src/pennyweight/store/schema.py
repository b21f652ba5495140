"""The tables of the ledger: append-only, in counts, seconds, joules and bytes, with the id of the price sheet.

Every row ends with a seal over the rest of it, for SQLite itself does not notice a flipped bit in a value.
"""

from __future__ import annotations

from pennyweight.store.database import Schema

_ENTRY = """
CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  at_utc TEXT NOT NULL,
  session TEXT NOT NULL,
  job TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  plan_key TEXT NOT NULL,
  plan_text TEXT NOT NULL,
  lever TEXT NOT NULL,
  phase TEXT NOT NULL CHECK (phase IN ('find', 'train', 'compress', 'serve', 'store')),
  basis TEXT NOT NULL CHECK (basis IN ('predicted', 'simulated', 'measured')),
  wall_s REAL NOT NULL CHECK (wall_s >= 0),
  device_s REAL NOT NULL CHECK (device_s >= 0),
  joule REAL NOT NULL CHECK (joule >= 0),
  joule_basis TEXT NOT NULL,
  peak_byte REAL NOT NULL CHECK (peak_byte >= 0),
  count TEXT NOT NULL,
  sheet TEXT NOT NULL,
  note TEXT NOT NULL,
  seal TEXT NOT NULL
)"""

_RUN = """
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  at_utc TEXT NOT NULL,
  session TEXT NOT NULL,
  job TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  plan_key TEXT NOT NULL,
  plan_text TEXT NOT NULL,
  fidelity REAL NOT NULL CHECK (fidelity > 0 AND fidelity <= 1),
  seed INTEGER NOT NULL,
  spec TEXT NOT NULL,
  score TEXT NOT NULL,
  others TEXT NOT NULL,
  measured TEXT NOT NULL,
  predicted TEXT NOT NULL,
  artifact TEXT NOT NULL,
  sheet TEXT NOT NULL,
  note TEXT NOT NULL,
  seal TEXT NOT NULL
)"""

_SHEET = """
CREATE TABLE sheet (
  id INTEGER PRIMARY KEY,
  at_utc TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  seal TEXT NOT NULL
)"""

# Two processes that look at one split at the same time cannot both have the next number.
_LOOK = """
CREATE TABLE look (
  id INTEGER PRIMARY KEY,
  at_utc TEXT NOT NULL,
  session TEXT NOT NULL,
  job TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number > 0),
  body TEXT NOT NULL,
  seal TEXT NOT NULL,
  UNIQUE (fingerprint, number)
)"""

_TRIGGERS = (
    "CREATE TRIGGER {t}_keeps BEFORE UPDATE ON {t} BEGIN {refuse}; END",
    "CREATE TRIGGER {t}_stays BEFORE DELETE ON {t} BEGIN {refuse}; END",
    # INSERT OR REPLACE with the id of an old row would delete that row without a word
    "CREATE TRIGGER {t}_grows BEFORE INSERT ON {t} WHEN NEW.id IN (SELECT id FROM {t}) BEGIN {refuse}; END",
)
_REFUSE = "SELECT RAISE(ABORT, 'the ledger is append-only')"


def _append_only(table: str) -> tuple[str, ...]:
    """Triggers that let rows be added and nothing else."""
    return tuple(trigger.format(t=table, refuse=_REFUSE) for trigger in _TRIGGERS)


LEDGER = Schema(
    steps=(
        (
            _ENTRY,
            _RUN,
            _SHEET,
            "CREATE INDEX entry_job ON entry (job, at_utc)",
            "CREATE INDEX run_plan ON run (fingerprint, plan_key)",
            "CREATE INDEX sheet_name ON sheet (name)",
            *_append_only("entry"),
            *_append_only("run"),
            *_append_only("sheet"),
        ),
        (_LOOK, *_append_only("look")),
    ),
    mark=0x70776C31,  # "pwl1"
)
