"""What the pages read: the team's database, and the ledger of this machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.store.ledger import Ledger
from pennyweight.store.team.opened import explained, reading

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    Query = Mapping[str, str]

_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Books:
    """The database behind `engine`, and the ledger in the folder `home`."""

    engine: Engine
    home: Path

    @contextlib.contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection that only reads; what the database says becomes an error of ours."""
        with explained(str(self.engine.url)), reading(self.engine) as link:
            yield link

    @contextlib.contextmanager
    def changing(self) -> Generator[Connection]:
        """A transaction."""
        with explained(str(self.engine.url)), self.engine.begin() as link:
            yield link

    @contextlib.contextmanager
    def ledger(self) -> Generator[Ledger | None]:
        """The ledger, None if nothing was ever run here: looking makes no file."""
        path = self.home / "ledger.db"
        if not path.exists():
            yield None
            return
        with Ledger(path) as found:
            yield found


def amount(query: Query, name: str, default: float) -> float:
    """A number above zero from what was asked; raises `BadInputError` for anything else."""
    text = query.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST:
        raise BadInputError(f"{text[:40]!r} is no number of {name}.", "give a number above zero.")
    return value
