"""The dashboard from start to end: open the store, listen, answer until a signal says stop."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError
from pennyweight.serve import running
from pennyweight.serve.door import LOOPBACK
from pennyweight.serve.place import Place
from pennyweight.store.place import home
from pennyweight.store.team.opened import opened
from pennyweight.web.app import Dashboard
from pennyweight.web.books import Books
from pennyweight.web.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

_DRAIN_S = 2
_CONNECTIONS = 256


@dataclass(frozen=True)
class Where:
    """Where to listen; `hosts` are more names under which a browser may ask."""

    host: str = "127.0.0.1"
    port: int = 8100
    store: str = ""
    hosts: tuple[str, ...] = ()


def show(where: Where, told: Callable[[str], None]) -> None:
    """Show the dashboard until a signal says stop.

    Raises `BadInputError` if the address cannot be used: taken, or open to others while there is no key.
    """
    from pennyweight.serve.guarding import server as guarded

    with opened(where.store) as engine, _listening(where) as listener:
        running.check(engine, Place((), where.host))
        port, halt = listener.getsockname()[1], running.Halt(None)
        guard = Guard(where.host in running.ON_LOOPBACK, LOOPBACK | {*where.hosts, where.host})
        dashboard = Dashboard(Books(engine, home()), guard)
        server = guarded(dashboard.app(), drain_s=_DRAIN_S, connections=_CONNECTIONS)
        dashboard.stopping = lambda: server.should_exit
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, halt)
        told(f"dashboard at http://{_shown(where.host)}:{port}")
        server.run([listener])


def _listening(where: Where) -> socket.socket:
    """The socket; no other process may share its port."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    try:
        return socket.create_server((where.host, where.port), family=family)
    except OSError as error:
        raise BadInputError(
            f"Nothing can listen at {where.host}:{where.port}: {error.strerror}.", "choose another --port or --host."
        ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
