"""The routes of OpenAI's protocol: chats and completions of the language models that are served here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
from starlette.routing import Route

from pennyweight.errors import BadInputError
from pennyweight.serve.calling import JSON, Guarded, Reply
from pennyweight.serve.refused import RefusedError, bad
from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.part import Wanted
from pennyweight.serve.speaking.paying import Customer, Till
from pennyweight.serve.speaking.telling import Streamed, watched
from pennyweight.serve.speaking.trying import Score, chosen
from pennyweight.serve.wire import openai, openai_asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.routing import BaseRoute

    from pennyweight.serve.answering.shelf import Served, Shelf, Trial
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.calling import Call, Sendable
    from pennyweight.serve.door import Door
    from pennyweight.serve.speaking.choir import Choir
    from pennyweight.serve.wire.openai_asked import Ask
    from pennyweight.store.team.tenants import Caller

CHAT, COMPLETION, MODELS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/embeddings"
MOST_BYTE = 4 * 2**20


@final
@dataclass(frozen=True, slots=True, eq=False)
class Talking:
    """Answers questions to language models, in OpenAI's shape also where they are refused."""

    door: Door
    shelf: Shelf
    teller: Teller
    till: Till = field(init=False)

    def __post_init__(self) -> None:
        """Open the till."""
        object.__setattr__(self, "till", Till(self.teller))

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

    async def _embed(self, _: Caller, _call: Call) -> Reply:
        raise bad("No model that is served here makes embeddings.")

    async def _models(self, _: Caller, _call: Call) -> Reply:
        found = ((name, each.version.made_ns // 10**9) for name, each in self._speaking())
        return Reply(openai.listed(found), JSON)

    async def _answered(self, caller: Caller, ask: Ask, call: Call) -> Sendable:
        now_ns = time.time_ns()
        name = self.teller.name(now_ns)
        served, trial = self._chosen(ask.model, caller)
        sale = await self.till.sell(Customer(caller, served, name), _speaker(served), _wanted(ask, _speaker(served)))
        if trial is not None:
            Score(self.teller.book, trial, served, sale).keep()
        kind = "chatcmpl" if ask.chat else "cmpl"
        head = openai.Letterhead(f"{kind}-{name}", now_ns // 10**9, ask.model, f"v{served.name}", ask.chat, ask.usage)
        headers = {"x-model-version": served.name, "x-request-id": name}
        if ask.stream:
            return await Streamed.begun(sale, head, headers, call.receive)
        async with watched(sale.part, call.receive):
            text = "".join([each async for each in sale.part.texts()])
            row = await sale.settled()
        used = openai.usage_of(row.units.fed, row.units.made, row.units.cached)
        return Reply(head.whole(text, sale.part.reason, used), headers | JSON)

    def _chosen(self, model: str, caller: Caller) -> tuple[Served, Trial | None]:
        """Who answers for a model ("gpt", "gpt@3" or "gpt@staging"), and the trial of which that is part."""
        name, _, number = model.partition("@")
        if number.isdecimal() and model not in self.shelf.current:
            return self.shelf.get(name, number), None
        served, trial = self.shelf.get(model), self.shelf.trials.get(model)
        return (served, None) if trial is None else (chosen(trial, served, caller), trial)

    def _speaking(self) -> Iterator[tuple[str, Served]]:
        return ((name, each) for name, each in self.shelf.current.items() if each.choir is not None)


def _speaker(served: Served) -> Choir:
    if served.choir is None:
        raise bad("This is no language model, or nobody kept how it reads text.")
    return served.choir


def _wanted(ask: Ask, choir: Choir) -> Wanted:
    """What is to be made; raises `RefusedError` (400) for what the model cannot read, or has no room for."""
    prompt, room = _tokens(ask, choir), choir.chorus.context
    if not len(prompt):
        raise bad("There is nothing to go on with: give at least one token.")
    most = max(1, room - len(prompt)) if ask.most is None else ask.most
    if len(prompt) + most > room:
        why = f"This model's maximum context length is {room} tokens: {len(prompt)} are given, {most} asked for."
        raise RefusedError(400, why, code="context_length_exceeded")
    return Wanted(prompt, most, Draw(ask.temperature, ask.top_p, ask.seed), ask.stops)


def _tokens(ask: Ask, choir: Choir) -> np.ndarray:
    tokenizer = choir.tokenizer
    if isinstance(ask.prompt, tuple):
        if not all(0 <= each < tokenizer.size for each in ask.prompt):
            raise bad(f"prompt holds tokens that the model does not know: they are 0 to {tokenizer.size - 1}.")
        return np.array(ask.prompt, np.int64)
    try:
        return tokenizer.encode(tokenizer.chat(ask.messages) if ask.prompt is None else ask.prompt)
    except BadInputError as error:
        raise bad(f"{error.problem.rstrip('.')}.") from None
