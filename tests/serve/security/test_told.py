"""No answer tells more than one sentence: no path, no secret, no statement, no trace of the program."""

import json
import re

import httpx
import pytest
from wires import PATH, head, said

LEAKS = re.compile(
    rb"Traceback|File \"|\.py\b|/tmp/|/home/|/usr/|/root|site-packages|SELECT |INSERT |sqlite|psycopg|sqlalchemy|"
    rb"swordfish|0x[0-9a-f]{8}|object at|pw_[0-9a-f]{12}_|numpy|starlette|uvicorn|onnxruntime|Errno",
    re.IGNORECASE,
)
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
WRONG = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"null",
    b'{"inputs": {}}',
    *(
        json.dumps({"inputs": [TENSOR | more]}).encode()
        for more in (
            {"shape": [1, 5]},
            {"shape": "x"},
            {"data": ["/etc/passwd"]},
            {"data": {"$ref": "file:///etc/passwd"}},
            {"datatype": "BYTES"},
            {"datatype": "../../etc/passwd"},
            {"name": "{{config}}"},
            {"shape": [1, 5], "data": [1, 2, 3, 4, 5]},
            {"shape": [2, 2, 1], "data": [1, 2, 3, 4]},
            {"datatype": "INT8"},
            {"data": [float("1e38")] * 4},
            {"parameters": {"binary_data_size": "x"}},
        )
    ),
]


@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_a_wrong_question_is_answered_with_a_sentence(house, body):
    for more in ({}, {"inference-header-content-length": "3"}, {"inference-header-content-length": "/etc"}):
        reply = httpx.post(house.address + PATH, content=body, headers=house.bearer["acme"] | more, timeout=60)
        assert reply.status_code in {200, 400}
        if reply.status_code == 400:
            assert set(reply.json()) == {"error"}
            assert 10 < len(reply.json()["error"]) < 400
            assert "\n" not in reply.json()["error"]
        assert not LEAKS.search(reply.content), reply.content
        assert "server" not in reply.headers


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /v2/models/times/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v2/models/times/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        head("GET", "/v2/models/%s", Host="127.0.0.1"),
        head("GET", "/v2/models/" + "a" * 20_000, Host="127.0.0.1"),
        head("GET", "/etc/passwd", Host="127.0.0.1"),
        head("GET", "/v2/models/..%2f..%2fteam.db", Host="127.0.0.1"),
        head("TRACE", "/v2/models/times", Host="127.0.0.1", Authorization="Bearer secret-of-mine"),
    ],
    ids=range(12),
)
def test_what_is_no_request_is_answered_without_a_word_about_the_program(house, raw):
    reply = said(house, raw)
    assert reply == b"" or reply.startswith(b"HTTP/1.1 4")
    assert not LEAKS.search(reply), reply
    assert b"secret-of-mine" not in reply


def test_after_all_of_it_the_program_has_said_no_secret_where_it_logs(house):
    httpx.post(house.address + PATH, content=b"{", headers=house.bearer["acme"], timeout=60)
    told = (house.folder / "told").read_text()
    for key in house.keys.values():
        assert key.split("_", 2)[2] not in told
    assert "swordfish" not in told
    assert "Traceback" not in told
