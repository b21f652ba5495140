"""OpenAI's protocol for language models, written: answers as JSON or as events, errors in its own shape.

Source: https://platform.openai.com/docs/api-reference (chat, completions, models, streaming).
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from pennyweight.serve.refused import RefusedError
    from pennyweight.store.team.usage import Units

DONE = b"data: [DONE]\n\n"
EVENTS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
_OTHERS = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "forbidden"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "server_error"),
    503: ("server_error", "service_unavailable"),
}


def usage_of(units: Units, guessed: int = 0, right: int = 0) -> dict[str, Any]:
    """What was counted, in the words of the protocol; also of the tokens that a draft guessed, if it did."""
    told: dict[str, Any] = {
        "prompt_tokens": units.fed,
        "completion_tokens": units.made,
        "total_tokens": units.fed + units.made,
        "prompt_tokens_details": {"cached_tokens": units.cached},
    }
    if guessed:
        held = {"accepted_prediction_tokens": right, "rejected_prediction_tokens": guessed - right}
        told["completion_tokens_details"] = held
    return told


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What every part of an answer says: its name, when it was begun (in seconds), the model, its version."""

    id: str
    created: int
    model: str
    version: str
    chat: bool
    usage: bool = False

    def whole(self, text: str, reason: str, used: dict[str, Any]) -> bytes:
        """An answer in one piece."""
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        told = self._head("chat.completion" if self.chat else "text_completion")
        told["choices"] = [{"index": 0, **said, "logprobs": None, "finish_reason": reason}]
        return orjson.dumps(told | {"usage": used})

    def first(self) -> bytes:
        """The event before the text, in a chat: who speaks."""
        return self._event({"delta": {"role": "assistant", "content": ""}}) if self.chat else b""

    def piece(self, text: str) -> bytes:
        """An event with more of the text."""
        return self._event({"delta": {"content": text}} if self.chat else {"text": text})

    def last(self, reason: str, used: dict[str, Any]) -> bytes:
        """The events after the text: why it ended, what was used if that was asked for, and that this is all."""
        end = self._event({"delta": {}} if self.chat else {"text": ""}, reason)
        if not self.usage:
            return end + DONE
        told = self._head(self._chunk) | {"choices": [], "usage": used}
        return end + _data(told) + DONE

    def _event(self, said: dict[str, Any], reason: str | None = None) -> bytes:
        told = self._head(self._chunk)
        told["choices"] = [{"index": 0, **said, "logprobs": None, "finish_reason": reason}]
        if self.usage:
            told["usage"] = None
        return _data(told)

    @property
    def _chunk(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.version,
        }


def embedded(model: str, vectors: NDArray[np.float32], fed: int, *, packed: bool) -> bytes:
    """Vectors (N, D), as numbers or as base64 of little-endian float32, and the tokens that went in."""
    rows = [b64encode(each.tobytes()).decode() if packed else each.tolist() for each in vectors.astype("<f4")]
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    used = {"prompt_tokens": fed, "total_tokens": fed}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": used})


def listed(models: Iterable[tuple[str, int]]) -> bytes:
    """The models that can be asked: names, and since when (in seconds) there is the version that answers."""
    rows = [{"id": id_, "object": "model", "created": since, "owned_by": "pennyweight"} for id_, since in models]
    return orjson.dumps({"object": "list", "data": rows})


def refused(error: RefusedError) -> bytes:
    """Why not, in the shape that clients of this protocol read."""
    kind, code = _OTHERS.get(error.status, ("invalid_request_error", None))
    found = {"message": error.why, "type": kind, "param": None, "code": error.code or code}
    return orjson.dumps({"error": found})


def failed(error: RefusedError) -> bytes:
    """The same as an event, where the answer has begun already."""
    return b"data: " + refused(error) + b"\n\n"


def _data(told: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(told) + b"\n\n"
