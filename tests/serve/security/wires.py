"""Requests written byte by byte, as no client library would send them."""

import socket

PATH = "/v2/models/times/infer"


def plug(house, within_s=60.0):
    """A connection."""
    return socket.create_connection(("127.0.0.1", house.port), timeout=within_s)


def heard(line):
    """All that comes until the other side hangs up or says no more for a while."""
    parts = []
    try:
        while part := line.recv(65536):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)


def said(house, raw, within_s=60.0):
    """What is answered to some bytes, after which nothing more is sent."""
    with plug(house, within_s) as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        return heard(line)


def status(reply):
    """The status of the first reply in some bytes."""
    assert reply.startswith(b"HTTP/1.1 "), reply[:200]
    return int(reply[9:12])


def head(method, path, **headers):
    """The head of a request; names are written with dashes."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
