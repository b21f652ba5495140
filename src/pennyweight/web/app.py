"""The pages as an application: each at its path, and at the same path with .json."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, final
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from pennyweight.serve.refused import RefusedError
from pennyweight.store.team.tenants import Ring
from pennyweight.web.fence import Fence
from pennyweight.web.guard import COOKIE, SESSION_S
from pennyweight.web.live import ticks
from pennyweight.web.pages import PAGES, Page, run_page
from pennyweight.web.paint import environment, static
from pennyweight.web.said import refusal
from pennyweight.web.versions import asked_move, move

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from pennyweight.web.books import Books
    from pennyweight.web.guard import Guard, Visitor

    Act = Callable[[Visitor, dict[str, str]], Awaitable[Response]]

MOST_FORM_BYTE = 16 * 1024
_MOST_FIELDS = 20
_DIGITS = 18
_MOST_STREAMS = 32
_FORM = "application/x-www-form-urlencoded"


def never() -> bool:
    """What is never about to stop."""
    return False


@final
@dataclass(slots=True, eq=False)
class Dashboard:
    """The dashboard of some books behind a guard; streams end when `stopping` says so."""

    books: Books
    guard: Guard
    stopping: Callable[[], bool] = never
    streams: int = 0
    static: Mapping[str, tuple[str, bytes]] = field(default_factory=static)
    templates: Any = field(default_factory=environment)

    def app(self) -> Fence:
        """The ASGI application."""
        routes = [route for page in PAGES for route in self._both(page.path, page)]
        routes += self._both("/runs/{id}", None)
        routes += [
            Route("/registry/move", self._handled(self._ask_move), methods=["GET"]),
            Route("/registry/move", self._handled(self._form(self._move)), methods=["POST"]),
            Route("/login", self._handled(self._ask_key), methods=["GET"]),
            Route("/login", self._handled(self._login), methods=["POST"]),
            Route("/logout", self._handled(self._form(self._logout)), methods=["POST"]),
            Route("/live/stream", self._handled(self._stream), methods=["GET"]),
            Route("/static/{name}", self._handled(self._file), methods=["GET"]),
        ]
        inside = Starlette(routes=routes, exception_handlers={HTTPException: self._lost})
        inside.router.redirect_slashes = False  # where to would be told from a Host that anybody may write
        return Fence(inside, self.guard)

    def _both(self, path: str, page: Page | None) -> list[Route]:
        show, tell = (self._handled(partial(self._page, page, json=json)) for json in (False, True))
        return [Route(f"{path}.json", tell, methods=["GET"]), Route(path, show, methods=["GET"])]

    def _handled(self, do: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The same, but whatever goes wrong is a page, or JSON, of one sentence."""

        async def handled(request: Request) -> Response:
            try:
                return await do(request)
            except Exception as error:  # ruff: ignore[blind-except] - what it was is logged; who asked is told nothing of it
                return self._refused(request, *refusal(error))

        return handled

    async def _page(self, page: Page | None, request: Request, *, json: bool) -> Response:
        visitor = await self._visitor(request)
        page = page or run_page(_number(request.path_params["id"]))
        facts = await asyncio.to_thread(page.facts, self.books, dict(request.query_params))
        if json:
            return Response(orjson.dumps(facts, option=orjson.OPT_INDENT_2), media_type="application/json")
        return self._drawn(page.template, visitor, 200, page=page, facts=facts, query=request.url.query)

    async def _visitor(self, request: Request) -> Visitor:
        """Who looks, by the keys that hold at this moment."""
        self.guard.know(await asyncio.to_thread(self._ring))
        return self.guard.visitor(dict(request.scope["headers"]))

    def _ring(self) -> Ring:
        with self.books.reading() as link:
            return Ring.of(link)

    def _drawn(self, template: str, visitor: Visitor | None, status: int = 200, **more: Any) -> Response:
        told = {"page": None, "query": "", "pages": PAGES, "visitor": visitor} | more
        return Response(self.templates.get_template(template).render(told), status, media_type="text/html")

    def _refused(self, request: Request, status: int, problem: str, fix: str = "") -> Response:
        if request.url.path.endswith(".json"):
            told = {"error": problem, "fix": fix} if fix else {"error": problem}
            return Response(orjson.dumps(told), status, media_type="application/json")
        if status == HTTPStatus.UNAUTHORIZED and request.method == "GET" and request.url.path != "/live/stream":
            return RedirectResponse("/login", 303)
        said = {"problem": problem, "fix": fix, "phrase": HTTPStatus(status).phrase}
        return self._drawn("error.html", None, status, **said)

    async def _lost(self, request: Request, error: Any) -> Response:
        return self._refused(request, error.status_code, f"{HTTPStatus(error.status_code).phrase}.")

    def _form(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """What a form does for a visitor whom it was drawn for."""

        async def done(request: Request) -> Response:
            visitor = await self._visitor(request)
            form = await _read(request)
            self.guard.check(visitor, form.get("token", ""))
            return await act(visitor, form | {"_cookie": request.headers.get("cookie", "")})

        return done

    async def _ask_move(self, request: Request) -> Response:
        visitor = await self._visitor(request)
        facts = await asyncio.to_thread(asked_move, self.books, dict(request.query_params))
        return self._drawn("move.html", visitor, facts=facts)

    async def _move(self, visitor: Visitor, form: dict[str, str]) -> Response:
        await asyncio.to_thread(move, self.books, form, visitor.name)
        return RedirectResponse("/registry", 303)

    async def _ask_key(self, _: Request) -> Response:
        self.guard.know(await asyncio.to_thread(self._ring))
        if self.guard.door.keyless:
            return RedirectResponse("/", 303)
        return self._drawn("login.html", None, token=self.guard.stranger())

    async def _login(self, request: Request) -> Response:
        self.guard.know(await asyncio.to_thread(self._ring))
        form = await _read(request)
        self.guard.check(None, form.get("token", ""))
        session = self.guard.admit(form.get("key", ""))
        reply = RedirectResponse("/", 303)
        reply.set_cookie(COOKIE, session, max_age=SESSION_S, httponly=True, samesite="strict")
        return reply

    async def _logout(self, _: Visitor, form: dict[str, str]) -> Response:
        self.guard.leave({b"cookie": form["_cookie"].encode("latin-1")})
        reply = RedirectResponse("/login", 303)
        reply.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return reply

    async def _stream(self, request: Request) -> Response:
        await self._visitor(request)
        if self.streams >= _MOST_STREAMS:
            raise RefusedError(503, "Too many pages look at live numbers.", retry_s=5)
        return StreamingResponse(self._counted(), media_type="text/event-stream")

    async def _counted(self) -> Any:
        self.streams += 1
        try:
            async for each in ticks(self.books, self.stopping):
                yield each
        finally:
            self.streams -= 1

    async def _file(self, request: Request) -> Response:
        found = self.static.get(request.path_params["name"])
        if found is None:
            raise RefusedError(404, "There is no such file.")
        return Response(found[1], media_type=found[0])


def _number(text: str) -> int:
    """The number of a run; raises `RefusedError` (404) for what is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise RefusedError(404, "There is no such run.")
    return int(text)


async def _read(request: Request) -> dict[str, str]:
    """The fields of a form; raises `RefusedError` for what is none, or is too long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RefusedError(415, "This takes a form.")
    whole = bytearray()
    async for part in request.stream():
        whole += part
        if len(whole) > MOST_FORM_BYTE:
            raise RefusedError(413, f"A form has at most {MOST_FORM_BYTE} bytes here.")
    try:
        return dict(parse_qsl(whole.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise RefusedError(400, "This form cannot be read.") from error
