"""OpenAI's protocol, as far as it is spoken here, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

from pennyweight.serve.wire.openai_asked import MOST_MESSAGES, MOST_STOP, MOST_STOPS

ERROR: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": {
                            "message": {"type": "string"},
                            "type": {"type": "string"},
                            "param": {"type": ["string", "null"]},
                            "code": {"type": ["string", "null"]},
                        },
                    }
                },
            }
        }
    },
}
"""A refusal in that protocol's shape."""

_COMMON: dict[str, Any] = {
    "model": {"type": "string", "description": 'Such as "gpt", "gpt@3" or "gpt@staging".'},
    "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 2**31 - 1},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1},
    "n": {"type": ["integer", "null"], "enum": [1, None]},
    "stop": {
        "oneOf": [
            {"type": "null"},
            {"type": "string", "minLength": 1, "maxLength": MOST_STOP},
            {
                "type": "array",
                "maxItems": MOST_STOPS,
                "items": {"type": "string", "minLength": 1, "maxLength": MOST_STOP},
            },
        ]
    },
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {
        "type": ["object", "null"],
        "properties": {"include_usage": {"type": ["boolean", "null"]}},
    },
}
_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string"}, "content": {"type": ["string", "null"]}},
}
SCHEMAS: dict[str, Any] = {
    "Chat": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            **_COMMON,
            "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 2**31 - 1},
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": MOST_MESSAGES},
        },
    },
    "Completion": {
        "type": "object",
        "required": ["model", "prompt"],
        "properties": {
            **_COMMON,
            "prompt": {
                "oneOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "minItems": 1},
                ]
            },
        },
    },
    "Generated": {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"type": "string"},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "items": {"type": "object"}},
            "usage": {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"]},
        },
    },
}


def _body(of: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{of}"}}}


def _asked(summary: str, of: str) -> dict[str, Any]:
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _body(of)},
        "responses": {200: {**_body("Generated"), **events}},
        "why": (400, 401, 403, 404, 413, 429, 500, 503),
        "error": ERROR,
    }


_LIST = {"schema": {"type": "object", "required": ["object", "data"]}}
_EMBEDDED = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string"},
        "input": {"type": ["string", "array"]},
        "encoding_format": {"type": "string", "enum": ["float", "base64"]},
    },
}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": _asked("Go on with a chat; as events if stream is true.", "Chat"),
    "/v1/completions": _asked("Go on with a text; as events if stream is true.", "Completion"),
    "/v1/embeddings": {
        "summary": "Make vectors of texts, by an encoder.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _EMBEDDED}}},
        "responses": {200: {"application/json": _LIST}},
        "why": (400, 401, 403, 404, 413, 429, 500, 503),
        "error": ERROR,
    },
    "/v1/models": {
        "summary": "The language models that can be asked.",
        "responses": {200: {"application/json": _LIST}},
        "why": (401, 403),
        "error": ERROR,
    },
}
