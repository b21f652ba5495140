"""Whoever sends too much, too slowly or too deep is cut off in bounded memory, and others are served meanwhile."""

import asyncio
import contextlib
import json
import socket
import time

import httpx
import pytest
from wires import PATH, head, heard, plug, said, status

from pennyweight.serve import guarding

MORE_BYTE = 64 * 2**20


@contextlib.contextmanager
def bounded(house):
    """The server may not grow by more than 64 MiB, and must answer others at once and afterwards."""
    served(house)
    before = house.rss().rss
    try:
        yield
    finally:
        served(house)
    assert house.rss().rss - before < MORE_BYTE


def served(house):
    reply = httpx.post(house.address + PATH, json=house.question, headers=house.bearer["acme"], timeout=60)
    assert reply.status_code == 200


def sent(house, body, key="acme", **headers):
    authorization = house.bearer[key]["authorization"]
    raw = head("POST", PATH, Host="127.0.0.1", Authorization=authorization, **headers)
    return said(house, raw + body, 20.0)


@pytest.mark.parametrize("length", ["1000000000", "9" * 30, "-1", "0x10", "1e3", "١"])
def test_a_huge_or_odd_length_is_refused_before_anything_is_read(house, length):
    with bounded(house):
        begin_s = time.monotonic()
        raw = head("POST", PATH, Host="127.0.0.1", Authorization=house.bearer["acme"]["authorization"])[:-2]
        reply = said(house, raw + f"Content-Length: {length}\r\n\r\n".encode() + b"x" * 1000)
        assert status(reply) in {400, 413}
        assert time.monotonic() - begin_s < 5


def test_without_a_key_no_body_is_read_at_all(house):
    with bounded(house), plug(house) as line:
        line.sendall(head("POST", PATH, Host="127.0.0.1", Content_Length=str(2**30)))
        reply = heard(line)
        assert status(reply) == 401
        assert b"connection: close" in reply.lower()
        with contextlib.suppress(OSError):
            line.sendall(b"x" * 2**20)


def test_a_body_longer_than_any_batch_is_refused(house):
    with bounded(house):
        reply = sent(house, b"[" + b"1," * 2**20, Content_Length=str(2 * 2**20 + 1))
        assert status(reply) == 413


def test_a_chunked_body_without_end_is_cut_off(house):
    with bounded(house), plug(house, 20.0) as line:
        key = house.bearer["acme"]["authorization"]
        line.sendall(head("POST", PATH, Host="127.0.0.1", Authorization=key, Transfer_Encoding="chunked"))
        chunk = b"10000\r\n" + b"1" * 65536 + b"\r\n"
        with pytest.raises(OSError, match=r"reset|pipe"):
            line.sendall(chunk * 1024)  # 64 MiB if nobody stops it


def test_chunks_of_one_byte_cost_no_more_than_their_bytes(house):
    with bounded(house):
        reply = sent(house, b"1\r\n \r\n" * 50_000 + b"0\r\n\r\n", Transfer_Encoding="chunked")
        assert status(reply) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"inputs": ' + b"[" * 60_000,
        b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ' + b"[" * 60_000 + b"]}]}",
        b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
        b'{"parameters": ' + b'{"a":' * 12_000 + b"1" + b"}" * 12_000 + b"}",
    ],
    ids=range(5),
)
def test_depth_is_refused(house, body):
    with bounded(house):
        assert status(sent(house, body, Content_Length=str(len(body)))) in {400, 413}


@pytest.mark.parametrize(
    "shape",
    [
        [2**31, 2**31],
        [2**62, 4],
        [-1, -4],
        [-(2**63), 2],
        [2**64, 1],
        [10**30, 1],
        [1] * 1000,
        [0, 4],
        [2**26, 4],
        [1.5, 2],
    ],
)
def test_a_shape_that_is_none_is_refused(house, shape):
    with bounded(house):
        tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": [1, 2, 3, 4]}
        body = json.dumps({"inputs": [tensor]}).encode()
        assert status(sent(house, body, Content_Length=str(len(body)))) == 400
        tensor = {"name": "x", "shape": shape, "datatype": "FP64", "parameters": {"binary_data_size": 2**40}}
        body = json.dumps({"inputs": [tensor]}).encode()
        more = {"Inference_Header_Content_Length": str(len(body)), "Content_Length": str(len(body) + 4)}
        assert status(sent(house, body + b"\0\0\0\0", **more)) == 400


def test_an_endless_head_is_cut_off(house):
    with bounded(house), plug(house, 20.0) as line:
        line.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        reply = b""
        with contextlib.suppress(OSError):
            for n in range(100_000):
                line.sendall(b"X-%d: %s\r\n" % (n, b"a" * 1000))
            reply = heard(line)
        assert reply == b"" or status(reply) == 431


def test_others_are_served_while_hundreds_speak_slowly(house):
    with bounded(house), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(plug(house)) for _ in range(300)]
        for turn in range(5):
            for line in slow:
                with contextlib.suppress(OSError):
                    line.sendall(
                        b"POST /v2/models/times/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "[turn * 12 :][:12]
                    )
            begin_s = time.monotonic()
            served(house)
            assert time.monotonic() - begin_s < 5


@pytest.fixture
def impatient(monkeypatch):
    """uvicorn in this loop with the product's protocol, which waits for tenths of seconds instead of tens."""
    monkeypatch.setattr(guarding, "HEAD_S", 0.3)
    monkeypatch.setattr(guarding, "WHOLE_S", 0.6)
    monkeypatch.setattr(guarding, "LOOK_S", 0.05)

    @contextlib.asynccontextmanager
    async def standing():
        import uvicorn

        async def app(scope, receive, send):
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        config = uvicorn.Config(app, http=guarding.Watched, ws="none", lifespan="off", log_level="critical")
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task

    return standing


@pytest.mark.parametrize(
    "first",
    [b"", b"POS", b"POST / HTTP/1.1\r\nHost: a\r\nX", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"],
    ids=len,
)
def test_who_begins_and_does_not_go_on_is_hung_up_on(impatient, first):
    async def ask():
        async with impatient() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(ask())


def test_who_drips_bytes_is_hung_up_on_too(impatient):
    async def ask():
        async with impatient() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = asyncio.create_task(reader.read())
            writer.write(b"POST / HTTP/1.1\r\nX: ")
            for _ in range(200):
                if ended.done():
                    break
                writer.write(b"a")
                await asyncio.sleep(0.02)
            assert ended.done()
            assert ended.exception() is not None or ended.result() == b""
            writer.close()

    asyncio.run(ask())


def test_who_keeps_asking_in_time_is_not_hung_up_on(impatient):
    async def ask():
        async with impatient() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(10):
                writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
                await asyncio.sleep(0.1)
                writer.write(b"abc")
                assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.close()

    asyncio.run(ask())
