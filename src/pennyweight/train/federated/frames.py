"""Messages between server and tenants: a header in JSON and arrays in safetensors; nothing that is read is executed."""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import CorruptError

if TYPE_CHECKING:
    import socket

    import numpy as np

_MAGIC = b"PWF1"
_PREFIX = struct.Struct("<4sIQ")  # magic, bytes of the header, bytes of the arrays
_MOST_HEADER = 2**20
_CHUNK = 2**18
_MOST_NUMBER = 1e300


@dataclass(frozen=True, slots=True)
class Message:
    """`kind` says what it is for; `facts` are plain values, `arrays` the numbers."""

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A fact that is a finite number, or None: what a stranger says may be anything."""
        value = self.facts.get(name)
        fine = isinstance(value, int | float) and abs(value) < _MOST_NUMBER
        return float(value) if fine and value is not None else None


class GoneError(Exception):
    """The other end is closed, silent for too long, or talks nonsense."""


@final
class Channel:
    """One end of a connected socket; arrays of more than `most_byte` in one message are refused.

    `sent_byte` and `got_byte` are all bytes that were handed to and read from the socket.
    """

    def __init__(self, link: socket.socket, most_byte: int = 2**32) -> None:
        self.link = link
        self._most_byte = most_byte
        self._buffer = bytearray()
        self.sent_byte = self.got_byte = 0

    def send(self, message: Message, timeout_s: float | None = None) -> None:
        """Send a message; raises `GoneError` if the other end does not take it."""
        from safetensors.numpy import save

        header = json.dumps({"kind": message.kind, **message.facts}).encode()
        body = save(message.arrays) if message.arrays else b""
        frame = _PREFIX.pack(_MAGIC, len(header), len(body)) + header + body
        try:
            self.link.settimeout(timeout_s)
            self.link.sendall(frame)
        except OSError as error:
            raise GoneError(str(error) or "it takes no messages") from error
        self.sent_byte += len(frame)

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message, whole; raises `GoneError` if none comes."""
        while True:
            message = self._parsed()
            if message is not None:
                return message
            self.link.settimeout(timeout_s)
            self._read()

    def poll(self) -> Message | None:
        """The next message if reading once completes it; for a socket that is ready."""
        self.link.settimeout(1.0)
        self._read()
        return self._parsed()

    def close(self) -> None:
        """Close this end."""
        with contextlib.suppress(OSError):
            self.link.close()

    def _read(self) -> None:
        try:
            came = self.link.recv(_CHUNK)
        except OSError as error:
            raise GoneError(str(error) or "it is silent") from error
        if not came:
            raise GoneError("it has ended")
        self.got_byte += len(came)
        self._buffer += came

    def _parsed(self) -> Message | None:
        if len(self._buffer) < _PREFIX.size:
            return None
        magic, header, body = _PREFIX.unpack_from(self._buffer)
        if magic != _MAGIC or header > _MOST_HEADER or body > self._most_byte:
            raise GoneError("it sent what is no message")
        end = _PREFIX.size + header + body
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[_PREFIX.size : end])
        del self._buffer[:end]
        try:
            return _read(frame[:header], frame[header:])
        except CorruptError as error:
            raise GoneError(error.problem) from error


def _read(header: bytes, body: bytes) -> Message:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        facts = json.loads(header)
        return Message(facts.pop("kind"), facts, load(body) if body else {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise CorruptError(f"A message cannot be read: {type(error).__name__}.", "look at the sender.") from error
