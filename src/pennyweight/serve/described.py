"""What can be asked, as an OpenAPI 3.1 description: written by hand, filled in from the routes that there are."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pennyweight.serve.watch.telling import MOST
from pennyweight.serve.wire import openai_described
from pennyweight.serve.wire.oip import MOST_AXES, datatypes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.routing import BaseRoute

OPEN = frozenset({"/v2/health/live", "/v2/health/ready"})
"""The paths that answer without a key."""

_ERROR = {
    "description": "Why not, in one sentence.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    },
}
_WHY = {
    400: "What was sent is no request that the model can answer.",
    401: "There is no key, or none that holds.",
    403: "The key may not do this, or the request comes from a foreign host or page.",
    404: "There is no such model here, or not in that version; or no such request of the caller's.",
    413: "The body or the batch is too big.",
    429: "A rate or a budget is used up, or too many wait; Retry-After says when to come again.",
    500: "The model failed.",
    503: "The store cannot be written, or too many connections are open; nothing was charged.",
}
_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9][a-z0-9._-]{0,63})?$"},
}
_NUMBER = {
    "name": "number",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "maxItems": MOST_AXES,
        },
        "datatype": {"type": "string", "enum": list(datatypes())},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_ASK = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}, "minItems": 1, "maxItems": 1},
        "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Wanted"}},
        "parameters": {"type": "object"},
    },
}
_WANTED = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
}
_ANSWER = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
    },
}

_LABELLED = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST,
    "items": {
        "type": "object",
        "required": ["request", "label"],
        "properties": {
            "request": {"type": "string", "pattern": "^[0-9A-Za-z._-]{1,32}$", "description": "As x-request-id said."},
            "row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "default": 0},
            "label": {"type": "number", "description": "The number of the right class, or the right value."},
        },
    },
}


def _answers(of: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{of}"}}}


def _object(*names: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object", "required": list(names)}}}


_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_INFER: dict[str, Any] = {
    "summary": "Ask a model, by the Open Inference Protocol: tensors as JSON, or as bytes behind a JSON header.",
    "requestBody": {"required": True, "content": {**_answers("Ask"), **_BINARY}},
    "responses": {200: {**_answers("Answer"), **_BINARY}},
    "why": (400, 401, 403, 404, 413, 429, 500, 503),
}
_LABELS: dict[str, Any] = {
    "summary": "Tell what would have been right, by request; a caller labels its own requests only.",
    "requestBody": {"required": True, "content": _answers("Labels")},
    "responses": {200: _object("labels", "joined")},
    "why": (400, 401, 403, 404, 413, 429, 503),
}
_READY = {
    "summary": "Whether a model is loaded.",
    "responses": {200: _object("name", "ready")},
    "why": (401, 403, 404),
}
_ABOUT = {
    "summary": "What a model is.",
    "responses": {200: _object("name", "versions", "platform")},
    "why": (401, 403, 404),
}
_KNOWN: dict[str, dict[str, Any]] = {
    "/v2/health/live": {"summary": "Whether the process lives.", "responses": {200: {}}},
    "/v2/health/ready": {"summary": "Whether it can answer.", "responses": {200: {}, 503: {}}},
    "/v2/models/{model}/infer": _INFER,
    "/v2/models/{model}/versions/{number}/infer": _INFER,
    "/v2/models/{model}/labels": _LABELS,
    "/v2/models/{model}/ready": _READY,
    "/v2/models/{model}/versions/{number}/ready": _READY,
    "/v2/models/{model}": _ABOUT,
    "/v2/models/{model}/versions/{number}": _ABOUT,
    "/metrics": {
        "summary": "Numbers in Prometheus' text format; needs the key of an admin.",
        "responses": {200: _TEXT},
        "why": (401, 403, 503),
    },
    "/openapi.json": {"summary": "This description.", "responses": {200: _object("openapi")}, "why": (401, 403)},
    **openai_described.PATHS,
}


def described(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The description of some routes; those that nobody has described yet say only which methods they take."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path, methods = getattr(route, "path", ""), getattr(route, "methods", None) or ()
        for method in sorted(methods - {"HEAD"} if methods else ()):
            paths.setdefault(path, {})[method.lower()] = _operation(path, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pennyweight serve", "version": version("pennyweight")},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {
                "Tensor": _TENSOR,
                "Ask": _ASK,
                "Wanted": _WANTED,
                "Answer": _ANSWER,
                "Labels": _LABELLED,
                **openai_described.SCHEMAS,
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "pw_…"}},
        },
    }


def undescribed(routes: Iterable[BaseRoute]) -> list[str]:
    """The paths that `described` knows nothing about."""
    return sorted({getattr(route, "path", "") for route in routes} - _KNOWN.keys())


def _operation(path: str, method: str) -> dict[str, Any]:
    known = _KNOWN.get(path, {"summary": path, "responses": {}, "why": (401, 403)})
    answers = {
        str(status): {"description": "Answered." if status == 200 else _WHY[status]}
        | ({"content": content} if content else {})
        for status, content in known["responses"].items()
    }
    error = known.get("error", _ERROR)
    refusals = {str(status): {**error, "description": _WHY[status]} for status in known.get("why", ())}
    found = {"summary": known["summary"], "operationId": _id(path, method), "responses": answers | refusals}
    found |= {"parameters": [each for each in (_MODEL, _NUMBER) if f"{{{each['name']}}}" in path]}
    if "requestBody" in known:
        found["requestBody"] = known["requestBody"]
    return found | ({"security": []} if path in OPEN else {})


def _id(path: str, method: str) -> str:
    words = [word.strip("{}.").replace(".", "_") for word in path.split("/") if word]
    return "_".join([method.lower(), *words])
