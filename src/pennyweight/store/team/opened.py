"""Opening a team's database, making or migrating it first, and saying in a sentence what is wrong with it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pennyweight.errors import BadInputError, CorruptError, MissingExtraError, StorageError
from pennyweight.store.team.address import address, shown

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

_BUSY_S = 30.0
_SCRIPTS = Path(__file__).parent / "migrations"
_WRITING = "BEGIN IMMEDIATE"
_LOCK = 0x70776C74  # "pwlt": two processes do not migrate one PostgreSQL database at once


@contextlib.contextmanager
def opened(store: str = "") -> Generator[Engine]:
    """The database of a store (see `address`), of the newest version; every commit is on the disk when it returns.

    Raises `StorageError` if it cannot be reached or written, `BadInputError` if it is newer than this code,
    `CorruptError` if it is damaged or another program's, `MissingExtraError` without the libraries.
    """
    if find_spec("sqlalchemy") is None or find_spec("alembic") is None:
        raise MissingExtraError.of("SQLAlchemy", "serve")
    url = address(store)
    engine = _engine(url)
    try:
        with explained(url):
            if not _newest(engine):
                _migrate(engine)
        yield engine
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event

    if url.startswith("sqlite:"):
        with explained(url):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": _BUSY_S})
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
    else:
        engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    return engine


def reading(engine: Engine) -> Connection:
    """A connection, to be closed by `with`, that only reads: it holds nobody up."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def driver(link: Connection) -> Any:
    """The driver's own connection under `link`, for the few statements that there are thousands of times a second.

    SQLAlchemy's way to the driver, and to rows, costs several times what SQLite does. `execute(statement, values)`
    returns a cursor, with sqlite3 as with psycopg; `explained` explains its errors too.
    """
    return link.connection.driver_connection


@contextlib.contextmanager
def brief(link: Connection) -> Generator[None]:
    """A transaction of statements that are all given to the `driver`; SQLAlchemy's own costs three times as much."""
    raw = driver(link)
    if link.dialect.name == "sqlite":
        raw.execute(_WRITING)
    try:
        yield
    except BaseException:
        raw.rollback()
        raise
    raw.commit()


@contextlib.contextmanager
def explained(url: str) -> Generator[None]:
    """Turn what the database at `url` says into a sentence that says what to do, without its password."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except OSError as error:
        raise StorageError(
            f"There can be no store at {shown(url)}: {error.strerror}.", "give a folder that you may write to."
        ) from error
    except _refusals(DBAPIError) as error:
        said = _short(getattr(error, "orig", error))
        if re.search(r"not a database|malformed", said):
            raise CorruptError(f"{shown(url)} is damaged or no store: {said}.", "restore it from a backup.") from error
        raise StorageError(
            f"The store at {shown(url)} cannot be used: {said}.",
            "see that the server runs and lets this user in, or that the disk has room.",
        ) from error


def _refusals(wrapped: type[Exception]) -> tuple[type[Exception], ...]:
    """What databases raise, in SQLAlchemy's wrapping and as the drivers that are loaded do."""
    psycopg = sys.modules.get("psycopg")
    return (wrapped, sqlite3.Error, *((psycopg.Error,) if psycopg else ()))


def _short(error: object) -> str:
    """The first line of what the driver says, without the statement and its values."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _durable(link: Any, _: object) -> None:
    """Write ahead and wait for the disk; transactions begin where SQLAlchemy says so, not where sqlite3 guesses."""
    link.isolation_level = None
    _write_ahead(link)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        link.execute(f"PRAGMA {pragma}").close()


def _write_ahead(link: Any) -> None:
    """Switch to write-ahead logging; SQLite does not wait for others here, so we do."""
    give_up_s = time.monotonic() + _BUSY_S
    while True:
        try:
            link.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(link: Connection) -> None:
    """Take the write lock at once: a transaction that reads first and writes later may be refused in between."""
    link.exec_driver_sql(_WRITING)


def _newest(engine: Engine) -> bool:
    """Whether the database is of the newest version: said without Alembic, which costs a server 11 MB and 0.1 s."""
    from sqlalchemy.exc import DBAPIError

    last = max(path.name for path in (_SCRIPTS / "versions").glob("[0-9]*.py"))
    try:
        with reading(engine) as link:
            held = link.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except DBAPIError:
        return False
    return bool(held == last.partition("_")[0])


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as link:
        if engine.dialect.name == "postgresql":
            link.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK:d})")
        held = MigrationContext.configure(link).get_current_revision()
        if held is not None and held not in known:
            raise BadInputError(
                f"{shown(str(engine.url))} is of version {held}, which this pennyweight does not know.",
                "use the version of pennyweight that wrote it, or the newest one.",
            )
        if held is None:
            _refuse_strangers(engine, link)
        config.attributes["link"] = link
        command.upgrade(config, "head")


def _refuse_strangers(engine: Engine, link: Connection) -> None:
    from sqlalchemy import inspect

    from pennyweight.store.team.tables import metadata

    strange = set(inspect(link).get_table_names()) & set(metadata.tables)
    if strange:
        raise CorruptError(
            f"{shown(str(engine.url))} has tables of another program ({', '.join(sorted(strange))}).",
            "give a database of its own.",
        )
