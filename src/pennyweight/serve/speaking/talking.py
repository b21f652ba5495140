"""The routes of OpenAI's protocol: chats and completions of the language models that are served here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, final

from starlette.routing import Route

from pennyweight.serve.calling import JSON, Guarded, Reply
from pennyweight.serve.speaking.asking import read, speaker
from pennyweight.serve.speaking.embedding import sold
from pennyweight.serve.speaking.paying import Customer, Till
from pennyweight.serve.speaking.shadowing import Shadow, seeded
from pennyweight.serve.speaking.telling import Streamed, watched
from pennyweight.serve.speaking.trying import Try
from pennyweight.serve.wire import openai, openai_asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.routing import BaseRoute

    from pennyweight.serve.answering.shelf import Served, Shelf, Trial
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.calling import Call, Sendable
    from pennyweight.serve.door import Door
    from pennyweight.serve.speaking.paying import Sale
    from pennyweight.serve.wire.openai_asked import Ask
    from pennyweight.store.team.tenants import Caller

CHAT, COMPLETION, MODELS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/embeddings"
MOST_BYTE = 4 * 2**20
_MANY = 20_000  # numbers: writing more takes longer than handing them to a thread does


@final
@dataclass(frozen=True, slots=True, eq=False)
class Talking:
    """Answers questions to language models, in OpenAI's shape also where they are refused."""

    door: Door
    shelf: Shelf
    teller: Teller
    till: Till = field(init=False)
    shadow: Shadow = field(init=False)

    def __post_init__(self) -> None:
        """Open the till."""
        object.__setattr__(self, "till", Till(self.teller))
        object.__setattr__(self, "shadow", Shadow(self.teller.book))

    def routes(self) -> list[BaseRoute]:
        """What can be asked."""
        return [
            Route(CHAT, self._guarded(self._chat), methods=["POST"]),
            Route(COMPLETION, self._guarded(self._complete), methods=["POST"]),
            Route(EMBEDDINGS, self._guarded(self._embed), methods=["POST"]),
            Route(MODELS, self._guarded(self._models), methods=["GET"]),
        ]

    def _guarded(self, handle: Callable[[Caller, Call], Awaitable[Sendable]]) -> Guarded:
        return Guarded(self.door, "caller", handle, self.teller.book.counters, openai.refused)

    async def _chat(self, caller: Caller, call: Call) -> Sendable:
        self.door.pace(caller)
        return await self._answered(caller, openai_asked.read_chat(await call.body(MOST_BYTE)), call)

    async def _complete(self, caller: Caller, call: Call) -> Sendable:
        self.door.pace(caller)
        return await self._answered(caller, openai_asked.read_completion(await call.body(MOST_BYTE)), call)

    async def _embed(self, caller: Caller, call: Call) -> Reply:
        self.door.pace(caller)
        ask = openai_asked.read_embedding(await call.body(MOST_BYTE))
        served, _ = self._found(ask.model)
        vectors, row = await sold(self.teller, caller, served, ask)
        headers = {"x-model-version": served.name, "x-request-id": row.id}
        written = partial(openai.embedded, ask.model, vectors, row.units.fed, packed=ask.packed)
        return Reply(await asyncio.to_thread(written) if vectors.size > _MANY else written(), headers | JSON)

    async def _models(self, _: Caller, _call: Call) -> Reply:
        found = ((name, each.version.made_ns // 10**9) for name, each in self._speaking())
        return Reply(openai.listed(found), JSON)

    async def _answered(self, caller: Caller, ask: Ask, call: Call) -> Sendable:
        served, trial = self._found(ask.model)
        if trial is None:
            return await self._spoken(Customer(caller, served, ""), ask, call, _nobody)
        ask = seeded(ask) if trial.rollout.shadow else ask

        def speak(one: Served, begun: Callable[[Sale], None]) -> Awaitable[Sendable]:
            return self._spoken(Customer(caller, one, ""), ask, call, begun)

        attempt = Try(self.teller.book, trial, served, caller)
        return await attempt.reply(speak, lambda sale: self.shadow.copy(trial, ask, sale))

    async def _spoken(self, whom: Customer, ask: Ask, call: Call, begun: Callable[[Sale], None]) -> Sendable:
        """What one version replies; `begun` is told of the text as soon as it is begun."""
        now_ns = time.time_ns()
        name, served = self.teller.name(now_ns), whom.served
        choir = speaker(served)
        sale = await self.till.sell(replace(whom, name=name), choir, await read(ask, choir))
        begun(sale)
        kind = "chatcmpl" if ask.chat else "cmpl"
        head = openai.Letterhead(f"{kind}-{name}", now_ns // 10**9, ask.model, f"v{served.name}", ask.chat, ask.usage)
        headers = {"x-model-version": served.name, "x-request-id": name}
        if ask.stream:
            return await Streamed.begun(sale, head, headers, call.receive)
        async with watched(sale.part, call.receive):
            text = "".join([each async for each in sale.part.texts()])
            row = await sale.settled()
        used = openai.usage_of(row.units, sale.part.guessed, sale.part.right)
        return Reply(head.whole(text, sale.part.reason, used), headers | JSON)

    def _found(self, model: str) -> tuple[Served, Trial | None]:
        """Who is served under a name ("gpt", "gpt@3" or "gpt@staging"), and the trial that goes on under it."""
        name, _, number = model.partition("@")
        if number.isdecimal() and model not in self.shelf.current:
            return self.shelf.get(name, number), None
        return self.shelf.get(model), self.shelf.trials.get(model)

    async def end(self) -> None:
        """End every text now, and return when the rows are on the disk."""
        await self.till.end()
        await self.shadow.end()

    def _speaking(self) -> Iterator[tuple[str, Served]]:
        return ((name, each) for name, each in self.shelf.current.items() if each.choir or each.embedder)


def _nobody(_: Sale) -> None:
    """Whom it need not be told."""
