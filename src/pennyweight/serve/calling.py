"""A call and its reply: whether the caller may come in is asked before anything else is looked at."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

import orjson

from pennyweight.serve.refused import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from pennyweight.serve.counters import Counters
    from pennyweight.serve.door import Door, Room
    from pennyweight.store.team.tenants import Caller, Role

MOST_BYTE = 64 * 2**20
JSON = {"content-type": "application/json"}
_DIGITS = 12
_UNREAD = frozenset({401, 403, 413})  # where the rest of what was sent is not read


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, a body and headers."""

    body: bytes
    headers: dict[str, str]
    status: int = 200

    async def sent(self, send: Send) -> None:
        """Write it."""
        headers = encoded(self.headers)
        headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Sendable(Protocol):
    """A reply, whole or as it comes."""

    @property
    def status(self) -> int:
        """What is counted."""

    async def sent(self, send: Send) -> None:
        """Write it."""


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as a server wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def plainly(error: RefusedError) -> bytes:
    """Why not, in the words of most routes here."""
    return orjson.dumps({"error": error.why})


@dataclass(slots=True, eq=False)
class Call:
    """One request: the parts of its path, its headers, and its body when it is asked for.

    A body that does not come at once takes `room`, `held_byte` of it until the request is answered.
    """

    path: dict[str, str]
    headers: dict[bytes, bytes]
    receive: Receive
    room: Room
    held_byte: int = 0

    async def body(self, most_byte: int = MOST_BYTE) -> bytes:
        """All of the body; raises `RefusedError`: 413 as soon as it is too long, 503 if there is no room for it."""
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > _DIGITS or int(length) > most_byte:
            raise RefusedError(413, f"A body has at most {most_byte} bytes here.")
        message = await self.receive()
        first: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return first
        self._take(max(int(length), len(first)))
        whole = bytearray(first)  # not a list: bytes that come one by one would take fifty times their size
        while message.get("more_body"):
            message = await self.receive()
            whole += message.get("body", b"")
            if len(whole) > most_byte:
                raise RefusedError(413, f"A body has at most {most_byte} bytes here.")
            if len(whole) > self.held_byte:
                self._take(len(whole))  # it did not say how long it is: for twice as much each time
        return bytes(whole)

    def _take(self, byte: int) -> None:
        self.room.enter(byte)
        self.held_byte += byte


@final
@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A route's ASGI application: lets the caller in, or not, before anything else is looked at."""

    door: Door
    role: Role
    handle: Callable[[Caller, Call], Awaitable[Sendable]]
    counters: Counters
    told: Callable[[RefusedError], bytes] = plainly

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong is a status and one sentence."""
        begin_s = time.perf_counter()
        headers = dict(scope["headers"])
        call = Call(scope["path_params"], headers, receive, self.door.room)
        try:
            caller = self.door.caller(headers, self.role)
            reply = await self.handle(caller, call)
        except RefusedError as error:
            reply = Reply(self.told(error), _about(error, headers), error.status)
        finally:
            self.door.room.leave(call.held_byte)
        await reply.sent(send)
        self.counters.replied(reply.status, time.perf_counter() - begin_s)


def _about(error: RefusedError, asked: dict[bytes, bytes]) -> dict[str, str]:
    headers = JSON | ({"retry-after": str(math.ceil(error.retry_s))} if error.retry_s else {})
    return headers | {"connection": "close"} if error.status in _UNREAD and _endless(asked) else headers


def _endless(headers: dict[bytes, bytes]) -> bool:
    """Whether what is sent is so long that nobody should wait for its end."""
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or not length.isdigit() or int(length[:_DIGITS]) > MOST_BYTE
