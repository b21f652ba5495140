"""A span of OpenTelemetry for every request: where it was, how long it took, who asked which version, what it cost.

Names are those of the semantic conventions for HTTP servers; what they have no names for begins with `pennyweight`.
Nothing of it is imported, and no request is looked at, unless it is asked for.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pennyweight.serve.answering.teller import Teller
    from pennyweight.store.team.usage import Request

_UNTOLD = ("/v2/health/", "/metrics")  # asked by machines all the time
_SPAN: ContextVar[Span | None] = ContextVar("span", default=None)
_PARTS = (("models", "{model}"), ("versions", "{number}"))
_FAILED = 500
_NUSD, _NS = 1e9, 1e9


@contextlib.contextmanager
def traced(app: ASGIApp, teller: Teller, provider: TracerProvider | None = None) -> Generator[ASGIApp]:
    """The application with a span for every request; what was not sent yet is sent at the end of the block.

    Without a `provider` spans go where the usual variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`, by default this
    machine's port 4318), in the background. Raises `MissingExtraError` without the libraries.
    """
    provider = provider or _exporting()
    teller.told = _told
    try:
        yield Traced(app, provider.get_tracer("pennyweight"))
    finally:
        teller.told = None
        provider.shutdown()


def _exporting() -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError.of("opentelemetry-sdk", "otel") from error
    named = Resource.create()
    if str(named.attributes["service.name"]).startswith("unknown_service"):
        named = Resource.create({"service.name": "pennyweight"})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _told(request: Request) -> None:
    """Put what is recorded of a request into its span."""
    span = _SPAN.get()
    if span is None:
        return
    units = request.units
    span.set_attributes(
        {
            "pennyweight.tenant": request.tenant,
            "pennyweight.model": request.model,
            "pennyweight.version": request.number,
            "pennyweight.units.in": units.fed,
            "pennyweight.units.out": units.made,
            "pennyweight.units.cached": units.cached,
            "pennyweight.compute_s": units.compute_ns / _NS,
            "pennyweight.cost_usd": request.cost_nusd / _NUSD,
            "pennyweight.cost_nanodollars": request.cost_nusd,
        }
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """An ASGI application that begins a span with every request, as a part of the caller's trace if it names one."""

    app: ASGIApp
    tracer: Tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request within a span."""
        if scope["type"] != "http" or scope["path"].startswith(_UNTOLD):
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind

        method = scope["method"]
        asked = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope.get("scheme", "http")}
        with self.tracer.start_as_current_span(
            method, _caller(scope), SpanKind.SERVER, asked, record_exception=False
        ) as span:
            mark = _SPAN.set(span)
            try:
                await self.app(scope, receive, _Noting(send, span))
                _name(span, scope)
            finally:
                _SPAN.reset(mark)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Noting:
    """Sends, and notes the status."""

    send: Send
    span: Span

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            self.span.set_attribute("http.response.status_code", status)
            for name, value in message["headers"]:
                if name == b"x-request-id":
                    self.span.set_attribute("pennyweight.request.id", value.decode("latin-1"))
            if status >= _FAILED:
                from opentelemetry.trace import StatusCode

                self.span.set_attribute("error.type", str(status))
                self.span.set_status(StatusCode.ERROR)
        await self.send(message)


def _caller(scope: Scope) -> Any:
    """The trace that the caller names in the header traceparent, if any."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in {b"traceparent", b"tracestate"}
    }
    return TraceContextTextMapPropagator().extract(headers)


def _name(span: Span, scope: Scope) -> None:
    """Name a span by its route: there are few of them, however many models there are."""
    route = _route(scope)
    if route:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)


def _route(scope: Scope) -> str:
    """The path with the names of its parts in place of their values; "" where nothing is there."""
    if "path_params" not in scope:
        return ""
    parts = scope["path"].split("/")
    for at, (before, name) in enumerate(_PARTS):
        place = 3 + 2 * at
        if len(parts) > place and parts[place - 1] == before:
            parts[place] = name
    return "/".join(parts)
