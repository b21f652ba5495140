"""Callers of a language model over plain sockets: they take what a server says, count it, and some hang up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_DONE = b"data: [DONE]\n\n"
_used = itemgetter("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Asked:
    """One question: `most` tokens after a prompt, as a stream or whole; after `leave` pieces the caller hangs up."""

    prompt: str
    most: int
    stream: bool = False
    stop: str = ""
    leave: int | None = None


@dataclass(frozen=True)
class Told:
    """What came back: the status, the name of the row, the text, why it ended, and usage (in, out)."""

    status: int
    name: str
    text: str
    reason: str = ""
    used: tuple[int, int] | None = None


@dataclass
class Callers:
    """So many connections to a server, each asking one question after the other."""

    port: int
    key: str
    count: int
    told: dict[int, Told] = field(default_factory=dict)

    async def ask(self, questions: Sequence[Asked]) -> dict[int, Told]:
        """Ask everything; the answers by the place of the question."""
        line = iter(enumerate(questions))
        await asyncio.gather(*(self._caller(line) for _ in range(self.count)))
        return self.told

    async def _caller(self, line: Any) -> None:
        link = await asyncio.open_connection("127.0.0.1", self.port)
        for number, asked in line:
            link[1].write(self._written(asked))
            self.told[number] = await _answer(link[0], asked)
            if asked.leave is not None:
                link[1].close()
                link = await asyncio.open_connection("127.0.0.1", self.port)
        link[1].close()
        with contextlib.suppress(ConnectionError):
            await link[1].wait_closed()

    def _written(self, asked: Asked) -> bytes:
        body: dict[str, Any] = {"model": "gpt", "prompt": asked.prompt, "max_tokens": asked.most, "temperature": 0}
        if asked.stop:
            body["stop"] = asked.stop
        if asked.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


async def _answer(reader: asyncio.StreamReader, asked: Asked) -> Told:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    name = headers.get("x-request-id", "")
    if "content-length" not in headers:
        return await _streamed(reader, asked, name)
    found = json.loads(await reader.readexactly(int(headers["content-length"])))
    if status != 200:
        return Told(status, name, found["error"]["message"])
    (choice,) = found["choices"]
    return Told(200, name, choice["text"], choice["finish_reason"], _used(found["usage"]))


async def _streamed(reader: asyncio.StreamReader, asked: Asked, name: str) -> Told:
    text, reason, used, pieces = "", "", None, 0
    while True:
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        piece = await reader.readexactly(size + 2)
        if not size:
            return Told(200, name, text, reason, used)
        for event in piece[:-2].split(b"\n\n"):
            if not event or event + b"\n\n" == _DONE:
                continue
            found = json.loads(event.removeprefix(b"data: "))
            if found.get("usage"):
                used = _used(found["usage"])
            for choice in found["choices"]:
                text, reason = text + choice["text"], choice["finish_reason"] or reason
        pieces += 1
        if asked.leave is not None and pieces > asked.leave:
            return Told(200, name, text)
