"""What is asked of one language model, in its own tokens: not every version reads the same, or has the same room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.serve.refused import RefusedError, bad
from pennyweight.serve.speaking.drawing import Draw
from pennyweight.serve.speaking.part import Wanted

if TYPE_CHECKING:
    from pennyweight.serve.answering.shelf import Served
    from pennyweight.serve.speaking.choir import Choir
    from pennyweight.serve.wire.openai_asked import Ask

_LONG = 10_000  # characters
_AROUND = 32  # of them for each message: a template writes something around it, however short it is


def speaker(served: Served) -> Choir:
    """What continues texts; raises `RefusedError` (400) for a version that does not."""
    if served.choir is None:
        raise bad("This is no language model, or nobody kept how it reads text.")
    return served.choir


def is_long(ask: Ask) -> bool:
    """Whether reading it takes longer than handing it to a thread does."""
    said = sum(len(role) + len(content) + _AROUND for role, content in ask.messages)
    return said + len(ask.prompt or "") > _LONG


async def read(ask: Ask, choir: Choir) -> Wanted:
    """What is to be made, as `wanted` says; others are answered while something long is read."""
    return await asyncio.to_thread(wanted, ask, choir) if is_long(ask) else wanted(ask, choir)


def wanted(ask: Ask, choir: Choir) -> Wanted:
    """What is to be made; raises `RefusedError` (400) for what the model cannot read, or has no room for."""
    prompt, room = _tokens(ask, choir), choir.chorus.context
    if not len(prompt):
        raise bad("There is nothing to go on with: give at least one token.")
    most = max(1, room - len(prompt)) if ask.most is None else ask.most
    if len(prompt) + most > room:
        why = f"This model's maximum context length is {room} tokens: {len(prompt)} are given, {most} asked for."
        raise RefusedError(400, why, code="context_length_exceeded")
    return Wanted(prompt, most, Draw(ask.temperature, ask.top_p, ask.seed), ask.stops, ask.chat)


def _tokens(ask: Ask, choir: Choir) -> np.ndarray:
    tokenizer = choir.tokenizer
    if isinstance(ask.prompt, tuple):
        if not all(0 <= each < tokenizer.size for each in ask.prompt):
            raise bad(f"prompt holds tokens that the model does not know: they are 0 to {tokenizer.size - 1}.")
        return np.array(ask.prompt, np.int64)
    try:
        return tokenizer.chat(ask.messages) if ask.prompt is None else tokenizer.encode(ask.prompt)
    except BadInputError as error:
        raise bad(f"{error.problem.rstrip('.')}.") from None
