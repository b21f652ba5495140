"""The HTTP face: the Open Inference Protocol for callers, health for whoever watches, metrics for admins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

import orjson
from starlette.applications import Starlette
from starlette.routing import Route

from pennyweight.serve.refused import RefusedError, bad
from pennyweight.serve.wire import oip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from pennyweight.serve.door import Door
    from pennyweight.serve.shelf import Shelf
    from pennyweight.serve.teller import Teller
    from pennyweight.store.team.tenants import Caller, Role

MOST_BYTE = 64 * 2**20
_JSON = {"content-type": "application/json"}
_HEADER_LENGTH = b"inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, a body and headers."""

    body: bytes
    headers: dict[str, str]
    status: int = 200


class Handler(Protocol):
    """What a route does for a caller who was let in."""

    def __call__(self, caller: Caller, call: Call) -> Awaitable[Reply]:
        """The reply to a call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the parts of its path, its headers, and its body when it is asked for."""

    path: dict[str, str]
    headers: dict[bytes, bytes]
    receive: Receive

    async def body(self) -> bytes:
        """All of the body; raises `RefusedError` (413) as soon as it is too long."""
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BYTE:
            raise RefusedError(413, f"A body has at most {MOST_BYTE} bytes.")
        message = await self.receive()
        first: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return first
        parts, size = [first], len(first)
        while message.get("more_body"):
            message = await self.receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MOST_BYTE:
                raise RefusedError(413, f"A body has at most {MOST_BYTE} bytes.")
        return b"".join(parts)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A route's ASGI application: lets the caller in, or not, before anything else is looked at."""

    door: Door
    role: Role
    handle: Callable[[Caller, Call], Awaitable[Reply]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong is a status and one sentence."""
        headers = dict(scope["headers"])
        try:
            caller = self.door.caller(headers, self.role)
            reply = await self.handle(caller, Call(scope["path_params"], headers, receive))
        except RefusedError as error:
            reply = _refusal(error)
        await send_reply(send, reply)


async def send_reply(send: Send, reply: Reply) -> None:
    """Write a reply."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _refusal(error: RefusedError) -> Reply:
    headers = _JSON | ({"retry-after": str(math.ceil(error.retry_s))} if error.retry_s else {})
    return Reply(orjson.dumps({"error": error.why}), headers, error.status)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The routes of one process."""

    door: Door
    shelf: Shelf
    teller: Teller

    def app(self) -> Starlette:
        """The ASGI application. Without a key only the two health paths answer."""
        infer, ready, about = self._guarded(self._infer), self._guarded(self._ready), self._guarded(self._about)
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{number}"
        routes = [
            Route("/v2/health/live", self._live, methods=["GET"]),
            Route("/v2/health/ready", self._whole, methods=["GET"]),
            Route(f"{model}/infer", infer, methods=["POST"]),
            Route(f"{version}/infer", infer, methods=["POST"]),
            Route(f"{model}/ready", ready, methods=["GET"]),
            Route(f"{version}/ready", ready, methods=["GET"]),
            Route(model, about, methods=["GET"]),
            Route(version, about, methods=["GET"]),
        ]
        return Starlette(routes=routes)

    def _guarded(self, handle: Callable[[Caller, Call], Awaitable[Reply]], role: Role = "caller") -> Guarded:
        return Guarded(self.door, role, handle)

    async def _infer(self, caller: Caller, call: Call) -> Reply:
        self.door.pace(caller)
        served = self.shelf.get(call.path["model"], call.path.get("number", ""))
        ask = oip.read(await call.body(), _header_byte(call.headers))
        answer = await self.teller.answer(caller, served, ask)
        body, headers = oip.written(answer.rows, ask, served.version.model, served.name)
        return Reply(body, headers | {"x-model-version": served.name})

    async def _ready(self, _: Caller, call: Call) -> Reply:
        served = self.shelf.get(call.path["model"], call.path.get("number", ""))
        return _told({"name": served.version.model, "ready": True})

    async def _about(self, _: Caller, call: Call) -> Reply:
        served = self.shelf.get(call.path["model"], call.path.get("number", ""))
        version = served.version
        return _told({"name": version.model, "versions": [served.name], "platform": "pennyweight"})

    async def _live(self, _: Any) -> Any:
        from starlette.responses import Response

        return Response()

    async def _whole(self, _: Any) -> Any:
        from starlette.responses import Response

        return Response(status_code=200 if self.shelf.current else 503)


def _told(value: dict[str, Any]) -> Reply:
    return Reply(orjson.dumps(value), _JSON)


def _header_byte(headers: dict[bytes, bytes]) -> int | None:
    found = headers.get(_HEADER_LENGTH)
    if found is None:
        return None
    if not found.isdigit() or len(found) > 9:
        raise bad("Inference-Header-Content-Length is no number of bytes.")
    return int(found)
