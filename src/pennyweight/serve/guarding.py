"""What a connection may cost before anybody is let in: seconds to say what it wants, and bytes of a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_S = 10.0
"""From the connection, or the first byte of a request, to the end of its head."""
WHOLE_S = 60.0
"""From the first byte of a request to its last."""
HEAD_BYTE = 32 * 1024
"""Of a head that has not come to its end; what comes in one read may be longer."""
LOOK_S = 2.0
MOST_CONNECTIONS = 2048
_FIRST, _GO_ON = b"HTTP/1.1 ", b"HTTP/1.1 1"  # how a reply begins, and one that only asks for the rest
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@final
class Gathered:
    """A transport that keeps the head of a reply until its body comes: one packet and one system call less for each."""

    __slots__ = ("_head", "_inner")

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner, self._head = inner, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        """Write, or keep what is the beginning of a reply."""
        if not self._head and data.startswith(_FIRST) and not data.startswith(_GO_ON):
            self._head = data
            return
        self._inner.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        """Write what was kept: a reply may have no body."""
        if self._head:
            self._inner.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Write what was kept, and close."""
        self.flush()
        self._inner.close()


@final
class Watched(HttpToolsProtocol):
    """uvicorn's protocol that hangs up on those who speak too slowly or too long, for half a microsecond a request."""

    _begun_s: float = 0.0  # when what is being read began, 0 while nothing is
    _heading: bool = False
    _head_byte: int = 0
    _timer: asyncio.TimerHandle | None = None
    _gathered: Gathered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at the clock."""
        super().connection_made(transport)
        self.transport = self._gathered = Gathered(transport)  # type: ignore[assignment]  # a transport in all it is asked
        self._begun_s = self.loop.time()
        self._heading = True
        self._timer = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that does not end is answered 431."""
        super().data_received(data)
        if self._heading:
            self._head_byte += len(data)
            if self._head_byte > HEAD_BYTE and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_response_complete(self) -> None:
        """A reply is complete."""
        self._gathered.flush()
        super().on_response_complete()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._begun_s = self.loop.time()
        self._heading, self._head_byte = True, 0

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._heading = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._begun_s = 0.0
        super().on_message_complete()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        most_s = HEAD_S if self._heading else WHOLE_S
        if self._begun_s and self.loop.time() - self._begun_s > most_s:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(LOOK_S, self._look)


def server(app: Any, *, drain_s: int, connections: int = MOST_CONNECTIONS) -> uvicorn.Server:
    """A server of an ASGI application that trusts no proxy, tells nobody what it is, and drains before it ends."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Watched,
            ws="none",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=connections,
            timeout_graceful_shutdown=drain_s,
        )
    )
