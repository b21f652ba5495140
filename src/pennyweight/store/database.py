"""Opening an SQLite file that several processes append to, and saying in a sentence what is wrong with it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, CorruptError, PennyweightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

BUSY_S = 30.0
"""How long to wait for another process that is writing."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FORBIDDEN = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN})


@dataclass(frozen=True, slots=True)
class Schema:
    """What a kind of database file holds: the statements that each version added, and its `mark` (application id)."""

    steps: tuple[tuple[str, ...], ...]
    mark: int

    @property
    def version(self) -> int:
        """The version of a file that has them all."""
        return len(self.steps)


def connect(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open the database at `path`, making it if there is none; every commit is flushed to the disk (WAL, FULL).

    A file of an earlier version gets what was added since. Raises `CorruptError` if it is damaged or another
    program's, `StorageError` if it may not be written, `BadInputError` if it is newer than this code.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        link = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            link.row_factory = sqlite3.Row
            if _held(link, path, schema) < schema.version:
                _make(link, path, schema)
            link.execute("PRAGMA synchronous = FULL")
            link.execute("PRAGMA recursive_triggers = ON")  # else REPLACE would delete unseen
        except BaseException:
            link.close()
            raise
    return link


@contextlib.contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what SQLite says about the file at `path` into a sentence that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _sentence(error, path) from error
    except OSError as error:
        raise StorageError(
            f"There can be no ledger at {path}: {error.strerror}.", "set PENNYWEIGHT_HOME to a folder you may write to."
        ) from error


def _held(link: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """The version that the file holds, read as of one moment: another process may be making it."""
    link.execute("BEGIN")
    try:
        return _version(link, path, schema)
    finally:
        link.execute("COMMIT")


def _version(link: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """The version of the schema that the file holds; 0 if it is empty."""
    mark = link.execute("PRAGMA application_id").fetchone()[0]
    version = link.execute("PRAGMA user_version").fetchone()[0]
    tables = link.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark == schema.mark:
        if not 0 < version <= schema.version:
            raise BadInputError(
                f"{path} is of version {version}, this pennyweight reads version {schema.version}.",
                "use the version of pennyweight that wrote it, or the newest one.",
            )
        return int(version)
    if mark or version or tables:
        raise CorruptError(f"{path} is a database of another program.", "move it away, or set PENNYWEIGHT_HOME.")
    return 0


def _make(link: sqlite3.Connection, path: Path, schema: Schema) -> None:
    _write_ahead(link)
    link.execute("BEGIN IMMEDIATE")
    try:
        held = _version(link, path, schema)  # another process may have been first
        for statement in chain.from_iterable(schema.steps[held:]):
            link.execute(statement)
        link.execute(f"PRAGMA user_version = {schema.version:d}")
        link.execute(f"PRAGMA application_id = {schema.mark:d}")
        link.execute("COMMIT")
    finally:
        if link.in_transaction:
            link.execute("ROLLBACK")


def _write_ahead(link: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait for others here, so we do."""
    give_up_s = time.monotonic() + BUSY_S
    while True:
        try:
            link.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
        else:
            return


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _sentence(error: sqlite3.Error, path: Path) -> PennyweightError:
    code = _code(error)
    if code in _DAMAGED or "Could not decode" in str(error):  # bytes that are no text have no code of their own
        return CorruptError(
            f"{path} is damaged or no ledger: {_short(error)}.",
            f"move it away and start a new one; `sqlite3 {path.name} .recover` reads what is left of it.",
        )
    if code in _BUSY:
        return StorageError(
            f"{path} is being written by another process, for more than {BUSY_S:g} seconds now.",
            "wait until that process has finished, or stop it.",
        )
    if code in _FORBIDDEN:
        return StorageError(
            f"{path} cannot be opened or written: {error}.",
            "change its permissions, or set PENNYWEIGHT_HOME to a folder you may write to.",
        )
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return StorageError(
            f"{path} could not be written, the disk is full or failing: {error}. Earlier entries are safe.",
            "free space there (or raise the quota), or set PENNYWEIGHT_HOME to a larger disk.",
        )
    return StorageError(f"{path} refused: {_short(error)}.", "report this; the ledger itself is unchanged.")


def _short(error: sqlite3.Error) -> str:
    """What SQLite says, without the contents of the row that it may quote."""
    return str(error).partition(" with text")[0]
