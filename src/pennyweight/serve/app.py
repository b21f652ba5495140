"""The HTTP face: the Open Inference Protocol for callers, health for whoever watches, metrics for admins."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, final

import orjson
from starlette.applications import Starlette
from starlette.routing import Route

from pennyweight.serve import labelling
from pennyweight.serve.answering.trials import Asked, Referee
from pennyweight.serve.calling import JSON, MOST_BYTE, Guarded, Reply
from pennyweight.serve.described import described
from pennyweight.serve.metrics import TYPE, Scraped
from pennyweight.serve.refused import bad
from pennyweight.serve.speaking.talking import Talking
from pennyweight.serve.wire import oip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from pennyweight.serve.answering.shelf import Served, Shelf
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.calling import Call, Sendable
    from pennyweight.serve.door import Door
    from pennyweight.store.team.tenants import Caller, Role

_VALUE_BYTE = 32  # of a number in JSON, at most
_HEADER_LENGTH = b"inference-header-content-length"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Straight:
    """The way to what is asked most, without trying all routes: that costs as much as a small model does."""

    infer: Guarded
    rest: Starlette

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v2/models/{model}/infer` at once, and leave all else to the routes."""
        match scope["path"].split("/") if scope["type"] == "http" else ():
            case ["", "v2", "models", name, "infer"] if scope["method"] == "POST":
                scope["path_params"] = {"model": name}
                await self.infer(scope, receive, send)
            case _:
                await self.rest(scope, receive, send)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The routes of one process."""

    door: Door
    shelf: Shelf
    teller: Teller
    referee: Referee = field(init=False)
    scraped: Scraped = field(init=False)
    talking: Talking = field(init=False)
    routes: list[BaseRoute] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Let the teller's book keep the score of trials."""
        object.__setattr__(self, "referee", Referee(self.teller))
        object.__setattr__(self, "scraped", Scraped(self.shelf, self.teller))
        object.__setattr__(self, "talking", Talking(self.door, self.shelf, self.teller))

    def app(self) -> Straight:
        """The ASGI application. Without a key only the two health paths answer."""
        infer, ready, about = self._guarded(self._infer), self._guarded(self._ready), self._guarded(self._about)
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{number}"
        routes = [
            Route("/v2/health/live", self._live, methods=["GET"]),
            Route("/v2/health/ready", self._whole, methods=["GET"]),
            Route(f"{model}/infer", infer, methods=["POST"]),
            Route(f"{version}/infer", infer, methods=["POST"]),
            Route(f"{model}/labels", self._guarded(self._labelled), methods=["POST"]),
            Route(f"{model}/ready", ready, methods=["GET"]),
            Route(f"{version}/ready", ready, methods=["GET"]),
            Route(model, about, methods=["GET"]),
            Route(version, about, methods=["GET"]),
            Route("/metrics", self._guarded(self._metrics, "admin"), methods=["GET"]),
            Route("/openapi.json", self._guarded(self._described), methods=["GET"]),
            *self.talking.routes(),
        ]
        self.routes.extend(routes)
        rest = Starlette(routes=routes)
        rest.router.redirect_slashes = False  # where to would be told from a Host that anybody may write
        return Straight(infer, rest)

    def _guarded(self, handle: Callable[[Caller, Call], Awaitable[Sendable]], role: Role = "caller") -> Guarded:
        return Guarded(self.door, role, handle, self.teller.book.counters)

    async def _infer(self, caller: Caller, call: Call) -> Reply:
        self.door.pace(caller)
        name, number = call.path["model"], call.path.get("number", "")
        most_byte = _most_byte(self.shelf.get(name, number))
        ask = oip.read(await call.body(most_byte), _header_byte(call.headers))
        served, trial = self.shelf.get(name, number), None if number else self.shelf.trials.get(name)
        if trial is None:
            answer = await self.teller.answer(caller, served, ask)
        else:
            asked = Asked(caller, ask, ask.id or token_hex(8))
            served, answer = await self.referee.answer(asked, served, trial)
        if served.seen is not None:
            served.seen.add(answer.request, ask.rows, answer.rows)
        body, headers = oip.written(answer.rows, ask, served.version.model, served.name)
        return Reply(body, headers | {"x-model-version": served.name, "x-request-id": answer.request})

    async def _labelled(self, caller: Caller, call: Call) -> Reply:
        self.door.pace(caller)
        model = self.shelf.get(call.path["model"]).version.model
        told = labelling.read(await call.body(labelling.MOST_BYTE))
        return _told(await labelling.kept(self.teller.book, caller, model, told))

    async def _ready(self, _: Caller, call: Call) -> Reply:
        served = self.shelf.get(call.path["model"], call.path.get("number", ""))
        return _told({"name": served.version.model, "ready": True})

    async def _about(self, _: Caller, call: Call) -> Reply:
        served = self.shelf.get(call.path["model"], call.path.get("number", ""))
        version = served.version
        return _told({"name": version.model, "versions": [served.name], "platform": "pennyweight"})

    async def _metrics(self, _: Caller, _call: Call) -> Reply:
        return Reply(await self.scraped.text(), {"content-type": TYPE})

    async def _described(self, _: Caller, _call: Call) -> Reply:
        return _told(described(self.routes))

    async def _live(self, _: Any) -> Any:
        from starlette.responses import Response

        return Response()

    async def _whole(self, _: Any) -> Any:
        from starlette.responses import Response

        return Response(status_code=200 if self.shelf.current else 503)


def _most_byte(served: Served) -> int:
    """The longest body that could be answered: as many values as a batch may have, written out."""
    values = served.lane.terms.most_rows * math.prod(served.shape) if served.shape else MOST_BYTE
    return min(MOST_BYTE, 2**16 + _VALUE_BYTE * values)


def _told(value: dict[str, Any]) -> Reply:
    return Reply(orjson.dumps(value), JSON)


def _header_byte(headers: dict[bytes, bytes]) -> int | None:
    found = headers.get(_HEADER_LENGTH)
    if found is None:
        return None
    if not found.isdigit() or len(found) > 9:
        raise bad("Inference-Header-Content-Length is no number of bytes.")
    return int(found)
