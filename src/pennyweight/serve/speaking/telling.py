"""An answer told as it comes, as events; nobody is told that it is whole before its row is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.serve.calling import encoded
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.wire import openai

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.types import Receive, Send

    from pennyweight.serve.speaking.part import Part
    from pennyweight.serve.speaking.paying import Sale
    from pennyweight.serve.wire.openai import Letterhead


@contextlib.asynccontextmanager
async def watched(part: Part, receive: Receive) -> AsyncGenerator[None]:
    """End a text as soon as its caller hangs up, or the block fails."""
    gone = asyncio.create_task(_gone(part, receive))
    try:
        yield
    except BaseException:
        part.end("gone")
        raise
    finally:
        gone.cancel()


async def _gone(part: Part, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    part.end("gone")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """A reply of which the first piece is there, and the others are to come."""

    sale: Sale
    head: Letterhead
    headers: dict[str, str]
    receive: Receive
    first: str
    texts: AsyncIterator[str]
    status: int = 200

    @classmethod
    async def begun(cls, sale: Sale, head: Letterhead, headers: dict[str, str], receive: Receive) -> Streamed:
        """Wait for the first piece; raises `RefusedError` if there is none, while that can still be the reply."""
        texts = sale.part.texts()
        async with watched(sale.part, receive):
            first = await anext(texts, "")
        return cls(sale, head, headers, receive, first, texts)

    async def sent(self, send: Send) -> None:
        """Write it piece by piece, then what was used and that this is all; or what went wrong on the way."""
        await send({"type": "http.response.start", "status": 200, "headers": encoded(openai.EVENTS | self.headers)})
        async with watched(self.sale.part, self.receive):
            try:
                await _more(send, self.head.first() + (self.head.piece(self.first) if self.first else b""))
                async for text in self.texts:
                    await _more(send, self.head.piece(text))
                row = await self.sale.settled()
            except RefusedError as error:
                await _more(send, openai.failed(error), last=True)
                return
            used = openai.usage_of(row.units, self.sale.part.guessed, self.sale.part.right)
            await _more(send, self.head.last(self.sale.part.reason, used), last=True)


async def _more(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})
