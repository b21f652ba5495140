"""OpenAI's protocol for language models, read: chats and completions as JSON.

Source: https://platform.openai.com/docs/api-reference (chat, completions). Fields that nobody here knows are passed
over, as clients send new ones all the time; known ones that would change the answer are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from pennyweight.serve.refused import bad

MOST_STOPS, MOST_STOP = 4, 256
MOST_MESSAGES = 4096
MOST_INPUTS = 2048
_FEW = 16  # tokens of a completion if nobody says how many


class _Text(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Text] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Common(msgspec.Struct, kw_only=True):
    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | int | None = None


class _Chat(_Common, kw_only=True):
    messages: list[_Message]
    max_completion_tokens: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None


class _Completion(_Common, kw_only=True):
    prompt: str | list[Any]
    echo: bool | None = None
    best_of: int | None = None
    suffix: str | None = None


class _Embedding(msgspec.Struct, kw_only=True):
    model: str
    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


_EMBEDDING = msgspec.json.Decoder(_Embedding)
_CHAT, _COMPLETION = msgspec.json.Decoder(_Chat), msgspec.json.Decoder(_Completion)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a language model.

    `prompt` is a text or tokens; if there is none, `messages` (role, content) are a chat. `most` tokens at most (None:
    as many as there is room for).
    """

    model: str
    messages: tuple[tuple[str, str], ...] = ()
    prompt: str | tuple[int, ...] | None = None
    most: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False

    @property
    def chat(self) -> bool:
        """Whether it is a chat."""
        return self.prompt is None


@dataclass(frozen=True, slots=True)
class Embed:
    """A question for vectors of `inputs`, texts or tokens; `packed` says that they are to come as base64."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    packed: bool = False


def read_embedding(body: bytes) -> Embed:
    """The question in the body for embeddings; raises `RefusedError` (400) for what is none."""
    asked = _decoded(_EMBEDDING, body)
    _only(dimensions=asked.dimensions)
    if asked.encoding_format not in {None, "float", "base64"}:
        raise bad("encoding_format must be float or base64.")
    several = isinstance(asked.input, list) and any(isinstance(each, str | list) for each in asked.input)
    inputs = asked.input if several else [asked.input]
    if not 0 < len(inputs) <= MOST_INPUTS:
        raise bad(f"input must be 1 to {MOST_INPUTS} texts.")
    return Embed(asked.model, tuple(map(_prompt, inputs)), asked.encoding_format == "base64")


def read_chat(body: bytes) -> Ask:
    """The question in the body of a chat; raises `RefusedError` (400) for what is none."""
    asked = _decoded(_CHAT, body)
    _only(tools=asked.tools, functions=asked.functions)
    form = asked.response_format or {}
    if form.get("type", "text") != "text":
        raise bad("response_format must be text: this server has no other.")
    if not 0 < len(asked.messages) <= MOST_MESSAGES:
        raise bad(f"messages must hold 1 to {MOST_MESSAGES} messages.")
    most = asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens
    messages = tuple((each.role, _content(each)) for each in asked.messages)
    return _ask(asked, most, messages=messages)


def read_completion(body: bytes) -> Ask:
    """The question in the body of a completion; raises `RefusedError` (400) for what is none."""
    asked = _decoded(_COMPLETION, body)
    _only(echo=asked.echo, suffix=asked.suffix)
    if asked.best_of not in {None, 1}:
        raise bad("best_of must be 1.")
    return _ask(asked, _FEW if asked.max_tokens is None else asked.max_tokens, prompt=_prompt(asked.prompt))


def _ask(asked: _Common, most: int | None, **what: Any) -> Ask:
    _only(frequency_penalty=asked.frequency_penalty, presence_penalty=asked.presence_penalty)
    _only(logit_bias=asked.logit_bias, logprobs=None if asked.logprobs is False else asked.logprobs)
    if asked.n not in {None, 1}:
        raise bad("n must be 1: ask again for another answer.")
    if most is not None and most < 1:
        raise bad("max_tokens must be 1 or more.")
    temperature = _within("temperature", asked.temperature, (0.0, 2.0))
    top_p = _within("top_p", asked.top_p, (0.0, 1.0))
    if asked.seed is not None and not 0 <= asked.seed < 2**63:
        raise bad("seed must be a whole number from 0 to 2^63 - 1.")
    options = asked.stream_options
    return Ask(
        asked.model,
        most=most,
        temperature=temperature,
        top_p=top_p,
        seed=asked.seed,
        stops=_stops(asked.stop),
        stream=bool(asked.stream),
        usage=bool(options and options.include_usage),
        **what,
    )


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad(f"The body is no such request: {str(error)[:200]}") from None


def _only(**fields: object) -> None:
    """Refuse what would change the answer and cannot be done; what says nothing may stay."""
    for name, value in fields.items():
        if value:
            raise bad(f"{name} is not supported here: leave it out.")


def _within(name: str, value: float | None, bounds: tuple[float, float]) -> float:
    if value is None:
        return 1.0
    if not bounds[0] <= value <= bounds[1]:
        raise bad(f"{name} must be from {bounds[0]:g} to {bounds[1]:g}.")
    return value


def _stops(found: str | list[str] | None) -> tuple[str, ...]:
    stops = (found,) if isinstance(found, str) else tuple(found or ())
    if len(stops) > MOST_STOPS or not all(0 < len(each) <= MOST_STOP for each in stops):
        raise bad(f"stop may be up to {MOST_STOPS} sequences of 1 to {MOST_STOP} characters.")
    return stops


def _content(message: _Message) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    if any(each.type != "text" for each in message.content):
        raise bad("The content of a message must be text.")
    return "".join(each.text for each in message.content)


def _prompt(found: Any) -> str | tuple[int, ...]:
    only = found[0] if isinstance(found, list) and len(found) == 1 else found
    if isinstance(only, str):
        return only
    tokens = only if isinstance(only, list) else found
    if not isinstance(tokens, list) or not all(type(each) is int for each in tokens):
        raise bad("prompt must be one text, or the tokens of one: ask again for each of several.")
    return tuple(tokens)
