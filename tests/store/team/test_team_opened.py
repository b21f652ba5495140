"""The team's database: made once, the same in both engines, and every refusal is a sentence."""

import sqlite3
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from pennyweight.errors import BadInputError, CorruptError, StorageError
from pennyweight.store.team.address import address, shown
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tables import event, metadata


def test_migrations_make_exactly_the_tables_that_the_code_names(store):
    with opened(store) as engine, reading(engine) as link:
        context = MigrationContext.configure(link, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_what_happened_can_be_added_to_and_nothing_else(store):
    row = {"at_ns": 1, "who": "ann", "model": "m", "kind": "add", "alias": "", "number": 1, "before": 0, "why": ""}
    with opened(store) as engine:
        with engine.begin() as link:
            link.execute(insert(event), row)
        for change in ("UPDATE event SET who = 'eve'", "DELETE FROM event"):
            with pytest.raises(DBAPIError, match="append-only"), engine.begin() as link:
                link.execute(text(change))
        with reading(engine) as link:
            assert link.execute(text("SELECT who FROM event")).scalars().all() == ["ann"]


def test_two_that_open_an_empty_store_at_once_make_it_once(store):
    errors = []

    def make():
        try:
            with opened(store):
                pass
        except Exception as error:  # ruff: ignore[blind-except] - whatever it is, it is told below
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []


def test_a_store_of_a_later_version_is_refused(store):
    with opened(store) as engine, engine.begin() as link:
        link.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInputError, match=r"version 9999.*newest"), opened(store):
        pass


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as link:
        link.execute("CREATE TABLE event (id)")
    with pytest.raises(CorruptError, match=r"another program \(event\)"), opened(str(path)):
        pass


def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path):
    (tmp_path / "notes.db").write_text("not a database, only words, but long enough to be read as a header" * 9)
    with pytest.raises(CorruptError, match="damaged or no store"), opened(str(tmp_path / "notes.db")):
        pass


def test_a_server_that_is_not_there_is_said_without_the_password(tmp_path):
    with pytest.raises(StorageError) as caught, opened(f"postgresql://ann:secret@/team?host={tmp_path}"):
        pass
    assert "secret" not in str(caught.value)
    assert "see that the server runs" in str(caught.value)


def test_a_store_elsewhere_is_refused():
    with pytest.raises(BadInputError, match="give a path or postgresql://"):
        address("mysql://host/team")


def test_an_address_is_shown_without_its_password():
    assert shown(address("postgresql://ann:secret@host/team")) == "postgresql+psycopg://ann:***@host/team"
