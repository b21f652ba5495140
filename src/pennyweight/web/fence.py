"""What holds for every reply and every request, whatever the path: headers, hosts, origins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from starlette.responses import PlainTextResponse

from pennyweight.serve.refused import RefusedError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

    from pennyweight.web.guard import Guard

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # not "no-referrer": browsers would send "Origin: null" with our own forms
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Fence:
    """An application behind a guard."""

    inside: Starlette
    guard: Guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.inside(scope, receive, send)
            return

        async def fenced(message: Any) -> None:
            begins = message["type"] == "http.response.start"
            await send(message | {"headers": [*message["headers"], *_HEADERS]} if begins else message)

        try:
            self.guard.at_home(dict(scope["headers"]), scope["method"])
        except RefusedError as error:
            await PlainTextResponse(error.why, error.status)(scope, receive, fenced)
            return
        await self.inside(scope, receive, fenced)
