"""The head of a reply leaves together with the beginning of its body, and is never kept for good."""

import asyncio
import contextlib
import socket

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pennyweight.serve.guarding import server

WAIT_S = 10


def whole(_):
    return PlainTextResponse("all of it")


def nothing(_):
    return Response(status_code=204)


def slowly(_):
    async def parts():
        for word in ("one ", "two "):
            yield word
            await asyncio.sleep(0.05)

    return StreamingResponse(parts())


def torn(_):
    def parts():
        yield "one "
        raise RuntimeError("here it ends")

    return StreamingResponse(parts())


@contextlib.asynccontextmanager
async def asked():
    """A function that sends bytes to a real server and returns what it reads until the server says no more."""
    app = Starlette(routes=[Route(f"/{each.__name__}", each) for each in (whole, nothing, slowly, torn)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = server(app, drain_s=1)
        task = asyncio.create_task(running.serve([listener]))

        async def ask(method, path, parts=1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            read = [await asyncio.wait_for(reader.read(65536), WAIT_S) for _ in range(parts)]
            writer.close()
            return read

        try:
            yield ask
        finally:
            running.should_exit = True
            await task


def run(test):
    async def within():
        async with asked() as ask:
            await test(ask)

    asyncio.run(within())


def test_head_and_body_come_in_one_piece():
    async def test(ask):
        (read,) = await ask("GET", "/whole")
        assert read.startswith(b"HTTP/1.1 200")
        assert read.endswith(b"\r\n\r\nall of it")

    run(test)


@pytest.mark.parametrize(("method", "path", "status"), [("HEAD", "/whole", b"200"), ("GET", "/nothing", b"204")])
def test_a_reply_without_a_body_is_not_waited_for(method, path, status):
    async def test(ask):
        (read,) = await ask(method, path)
        assert read.startswith(b"HTTP/1.1 " + status)
        assert read.endswith(b"\r\n\r\n")

    run(test)


def test_parts_of_a_stream_are_not_kept_until_its_end():
    async def test(ask):
        first, second = await ask("GET", "/slowly", parts=2)
        assert b"one " in first
        assert b"two " not in first
        assert b"two " in second

    run(test)


def test_what_was_said_before_a_fault_is_said():
    async def test(ask):
        first, end = await ask("GET", "/torn", parts=2)
        assert first.startswith(b"HTTP/1.1 200")
        assert b"one " in first
        assert end == b""

    run(test)
