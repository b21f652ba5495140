"""Live numbers come as a stream from a real server, which ends when the server does."""

import asyncio
import json
import signal
import time

import httpx
import pytest
from furnished import dashboard, furnish, requests, shown

from pennyweight.store.team.opened import opened
from pennyweight.store.team.usage import Request, Units, record
from pennyweight.web.live import ticks


def test_a_tick_tells_what_happened_since_the_last_one(tmp_path):
    async def do():
        async with dashboard(tmp_path) as here:
            heard = ticks(here.house.books, lambda: False, every_s=0)
            first = json.loads((await anext(heard)).partition(b"data: ")[2])
            with here.engine.begin() as link:
                units = Units(fed=1, made=1, compute_ns=1)
                record(link, [Request("new", time.time_ns(), "acme", "k", "digits", 2, units, 200, 10**9)])
            second = json.loads((await anext(heard)).partition(b"data: ")[2])
            await heard.aclose()
            return first, second

    first, second = asyncio.run(do())
    assert second["requests_hour"] == first["requests_hour"] + 1
    assert second["cost_hour_usd"] == pytest.approx(first["cost_hour_usd"] + 1)


def test_a_stream_ends_when_the_server_stops(tmp_path):
    async def do():
        async with dashboard(tmp_path) as here:
            asked = iter([False, False, True])
            return [each async for each in ticks(here.house.books, lambda: next(asked), every_s=0)]

    assert len(asyncio.run(do())) == 2


@pytest.fixture
def running(tmp_path):
    """The command itself, and its address."""
    with shown(tmp_path) as found:
        yield found


def test_the_command_shows_pages_and_a_stream_and_stops_at_once_while_somebody_looks(running, tmp_path):
    process, address = running
    assert address.startswith("http://127.0.0.1:")
    assert "Overview" in httpx.get(address).text
    with httpx.stream("GET", f"{address}/live/stream", timeout=30) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = reply.iter_lines()
        assert next(lines) == "event: now"
        assert json.loads(next(lines).removeprefix("data: "))["requests_hour"] == 600
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        for _ in lines:
            pass
    assert process.wait(30) == 0
    assert time.monotonic() - began_s < 20
    assert not process.stderr.read()


def test_a_port_that_is_taken_is_said(running, tmp_path):
    from pennyweight.errors import BadInputError
    from pennyweight.web.running import Where, show

    _, address = running
    with pytest.raises(BadInputError, match="Nothing can listen"):
        show(Where(port=int(address.rpartition(":")[2]), store=str(tmp_path / "team.db")), print)


def test_requests_of_one_model_only(tmp_path):
    from pennyweight.store.team.series import series

    now = time.time_ns()
    with opened(furnish(tmp_path)) as engine, engine.begin() as link:
        assert sum(each.requests for each in series(link, now - 900 * 10**9, now, 10**9, "digits")) >= 599
        assert sum(each.requests for each in series(link, now - 900 * 10**9, now, 10**9, "other")) == 0
    assert len(list(requests(now))) == 600
