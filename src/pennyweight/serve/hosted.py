"""The server as one ASGI application, for a host that has an event loop of its own, such as Ray Serve."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.errors import PennyweightError
from pennyweight.serve.running import check, parts
from pennyweight.serve.tracing import traced
from pennyweight.store.team.opened import opened

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from pennyweight.serve.place import Place


@final
@dataclass(slots=True, eq=False)
class Hosted:
    """What `serve` answers, without listening: a store and versions are opened by ASGI's lifespan, and closed by it.

    The host does the listening; `place` says under which address and names it is asked.
    """

    place: Place
    app: ASGIApp | None = field(default=None, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin and end as the host says, and answer meanwhile."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self.app is None:
            raise RuntimeError("The host does not speak ASGI's lifespan, so nothing was loaded.")
        else:
            await self.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        async with contextlib.AsyncExitStack() as stack:
            try:
                engine = stack.enter_context(opened(self.place.store))
                check(engine, self.place)
                face = await stack.enter_async_context(parts(engine, self.place))
            except PennyweightError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self.app = face.app()
            if self.place.otel:
                self.app = stack.enter_context(traced(self.app, face.teller))
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
            self.app = None
        await send({"type": "lifespan.shutdown.complete"})
