"""Tenants that come from outside: each runs on its own machine or account, with rows nobody else has ever had."""

from __future__ import annotations

import hmac
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.errors import PennyweightError
from pennyweight.train.federated.circle import Circle
from pennyweight.train.federated.frames import Channel, GoneError, Message

if TYPE_CHECKING:
    from collections.abc import Generator

    from pennyweight.train.federated.tenant import Tenant

_GREETING_S = 10.0


@final
@dataclass(frozen=True, slots=True)
class Door:
    """Where tenants come in: a listening socket, and the word that they must know."""

    link: socket.socket
    token: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.link.getsockname()[:2]
        return host, port

    @contextmanager
    def gathered(self, count: int, wait_s: float = 60.0) -> Generator[Circle]:
        """The first `count` tenants that know the word, for the block; raises `PennyweightError` if too few come."""
        end, circle = time.monotonic() + wait_s, Circle({})
        try:
            while len(circle.channels) < count:
                channel = self._let_in(len(circle.channels), max(0.01, end - time.monotonic()))
                if channel is not None:
                    circle.channels[len(circle.channels)] = channel
                elif time.monotonic() > end:
                    raise PennyweightError(
                        f"{len(circle.channels)} of {count} tenants came in {wait_s:g} seconds.",
                        "start the others, or wait longer.",
                    )
            yield circle
        finally:
            circle.end()

    def _let_in(self, number: int, wait_s: float) -> Channel | None:
        """The next who comes, if it knows the word; it is told its number."""
        self.link.settimeout(wait_s)
        try:
            channel = Channel(self.link.accept()[0])
        except OSError:
            return None
        try:
            word = str(channel.receive(_GREETING_S).facts.get("token", ""))
            if hmac.compare_digest(word.encode(), self.token.encode()):
                channel.send(Message("welcome", {"number": number}), _GREETING_S)
                return channel
        except GoneError:
            pass
        channel.close()
        return None


@contextmanager
def door(token: str, host: str = "127.0.0.1", port: int = 0) -> Generator[Door]:
    """A door for the block. What goes through is not encrypted: on other hosts, use a tunnel (ssh, WireGuard)."""
    with socket.create_server((host, port)) as link:
        yield Door(link, token)


def attend(address: tuple[str, int], token: str, tenant: Tenant) -> None:
    """Come in at a door and train on the own rows until it is over; raises `PennyweightError` if not let in."""
    try:
        channel = Channel(socket.create_connection(address, _GREETING_S))
        channel.send(Message("greeting", {"token": token}), _GREETING_S)
        tenant.number = int(channel.receive(_GREETING_S).facts["number"])
    except (OSError, GoneError, KeyError, ValueError) as error:
        raise PennyweightError(
            f"The server at {address[0]}:{address[1]} does not let this tenant in.", "check address and token."
        ) from error
    tenant.serve(channel)
