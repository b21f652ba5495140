"""Where a team's database is: a file, or a PostgreSQL server."""

from __future__ import annotations

import os
from pathlib import Path

from pennyweight.errors import BadInputError
from pennyweight.store.place import home

_SERVERS = ("postgresql://", "postgres://")


def address(store: str = "") -> str:
    """The SQLAlchemy URL of a store: a path, "postgresql://…", or "" for `$PENNYWEIGHT_STORE` or a file at home."""
    store = store or os.environ.get("PENNYWEIGHT_STORE", "") or str(home() / "team.db")
    if store.startswith(_SERVERS):
        return f"postgresql+psycopg://{store.partition('://')[2]}"
    if "://" in store:
        raise BadInputError(
            f"A store cannot be at {store.partition('://')[0]}://….", "give a path or postgresql://user@host/database."
        )
    return f"sqlite:///{Path(store).absolute()}"


def shown(url: str) -> str:
    """The address without its password."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)
