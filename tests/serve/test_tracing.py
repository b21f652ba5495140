"""With OpenTelemetry every request is a span: who asked which version, and what it cost; without, nothing is."""

import asyncio
import json
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from multiples import ROWS, asked, filled
from processes import start
from serving import question, server

from pennyweight.serve.tracing import Traced, traced

PATH = "/v2/models/digits/infer"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def provider():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider()


@pytest.fixture
def spans(provider):
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter.get_finished_spans


def asking(store, provider, todo, **more):
    """What `todo` returns, given a client of a server whose requests are traced, and the server."""

    async def ask():
        async with server(store, **more) as here:
            with traced(here.app, here.teller, provider) as app:
                transport = httpx.ASGITransport(app)
                headers = dict(here.client.headers)
                async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as on:
                    return await todo(on, here)

    return asyncio.run(ask())


def test_a_span_says_who_asked_which_version_and_what_it_cost(store, provider, spans):
    async def todo(client, _):
        return await client.post(PATH, json=question([[1, 2, 3, 4]] * 3))

    reply = asking(store, provider, todo)
    (span,) = spans()
    assert span.name == "POST /v2/models/{model}/infer"
    assert span.kind.name == "SERVER"
    assert span.attributes["http.route"] == "/v2/models/{model}/infer"
    assert span.attributes["url.path"] == PATH
    assert span.attributes["http.response.status_code"] == 200
    told = {name.removeprefix("pennyweight."): value for name, value in span.attributes.items()}
    assert (told["tenant"], told["model"], told["version"]) == ("acme", "digits", 1)
    assert (told["units.in"], told["units.out"], told["units.cached"]) == (3, 3, 0)
    assert (told["cost_nanodollars"], told["cost_usd"]) == (1000, 1e-6)
    assert told["request.id"] == reply.headers["x-request-id"]
    assert 0 < told["compute_s"] <= (span.end_time - span.start_time) / 1e9


def test_requests_at_once_have_spans_of_their_own(store, provider, spans):
    async def todo(client, _):
        await asyncio.gather(*(client.post(PATH, json=question([[1, 2, 3, 4]] * n)) for n in range(1, 21)))

    asking(store, provider, todo)
    found = [span.attributes["pennyweight.units.in"] for span in spans()]
    assert sorted(found) == list(range(1, 21))
    assert len({span.attributes["pennyweight.request.id"] for span in spans()}) == 20
    assert len({span.context.trace_id for span in spans()}) == 20


def test_a_span_is_part_of_the_trace_that_its_caller_names(store, provider, spans):
    async def todo(client, _):
        await client.post(PATH, json=question([[1, 2, 3, 4]]), headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        await client.post(PATH, json=question([[1, 2, 3, 4]]), headers={"traceparent": "nonsense"})

    asking(store, provider, todo)
    first, second = spans()
    assert f"{first.context.trace_id:032x}" == TRACE
    assert f"{first.parent.span_id:016x}" == PARENT
    assert second.parent is None


def test_what_was_refused_says_so_and_costs_nothing(store, provider, spans):
    async def todo(client, _):
        await client.post(PATH, json=question([[1, 2, 3]]))
        await client.post(PATH, json=question([[1, 2, 3, 4]]), headers={"authorization": "Bearer pw_wrong"})
        await client.get("/nothing/here")

    asking(store, provider, todo)
    assert [span.attributes["http.response.status_code"] for span in spans()] == [400, 401, 404]
    assert not any("pennyweight.cost_usd" in span.attributes for span in spans())
    assert not any("pw_" in json.dumps(dict(span.attributes)) for span in spans()), "a key is in no span"
    assert spans()[2].name == "GET", "what nobody knows has no name of its own"


def test_a_failing_model_is_an_error(store, provider, spans):
    class Broken:
        def predict(self, x):
            raise ValueError("/secret/path")

    async def todo(client, _):
        await client.post(PATH, json=question([[1, 2, 3, 4]]))

    asking(store, provider, todo, session=Broken())
    (span,) = spans()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "500")
    assert not span.events
    assert "secret" not in str(dict(span.attributes))


def test_health_and_metrics_are_not_traced(store, provider, spans):
    async def todo(client, _):
        return [(await client.get(path)).status_code for path in ("/v2/health/live", "/v2/health/ready", "/metrics")]

    assert asking(store, provider, todo) == [200, 200, 403]
    assert spans() == ()


def test_when_it_is_over_nobody_listens(store, provider, spans):
    async def todo(client, here):
        await client.get("/v2/health/live")
        assert here.teller.told is not None
        return here

    here = asking(store, provider, todo)
    assert here.teller.told is None


def test_a_server_that_was_not_asked_to_imports_nothing_of_it(store):
    async def ask():
        async with server(store) as here:
            assert here.teller.told is None
            assert not isinstance(here.app, Traced)
            assert (await here.client.post(PATH, json=question([[1, 2, 3, 4]]))).status_code == 200

    asyncio.run(ask())
    program = "import pennyweight.serve.running, sys; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def test_the_command_sends_spans_to_a_collector_before_it_ends(tmp_path):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    filled(tmp_path / "home" / "team.db", tmp_path, 1)
    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    collector.got = []
    Thread(target=collector.serve_forever, daemon=True).start()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}", "NO_PROXY": "127.0.0.1"}
    process = start(tmp_path, "serve", "times", "--port", "0", "--otel", env=env)
    try:
        address = process.stdout.readline().split()[-1]
        reply = httpx.post(f"{address}/v2/models/times/infer", json=asked(), timeout=120)
        assert reply.status_code == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        collector.shutdown()
        collector.server_close()
    assert {path for path, _ in collector.got} == {"/v1/traces"}
    (resource,) = [
        each for _, body in collector.got for each in ExportTraceServiceRequest.FromString(body).resource_spans
    ]
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "pennyweight"
    (span,) = [each for scope in resource.scope_spans for each in scope.spans]
    facts = {each.key: each.value for each in span.attributes}
    assert facts["pennyweight.units.in"].int_value == len(ROWS)
    assert facts["pennyweight.tenant"].string_value == "local"
