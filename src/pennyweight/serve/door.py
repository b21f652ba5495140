"""Who may come in: keys, rates, and which hosts and pages a request may say it is from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from pennyweight.serve.refused import RefusedError
from pennyweight.store.team.tenants import Caller, Ring, Role, Tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    Headers = Mapping[bytes, bytes]

_LOCAL = Caller("", Tenant("local", "local"), "admin")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BURST_S = 1.0


@final
@dataclass(slots=True)
class Bucket:
    """So many requests per second: what was not used is saved up for one second."""

    rate_s: float
    left: float = field(init=False)
    at_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin full."""
        self.left, self.at_s = max(1.0, self.rate_s * _BURST_S), time.monotonic()

    def take(self) -> float:
        """Take one; 0.0, or the seconds until there is one to take."""
        now_s = time.monotonic()
        self.left = min(max(1.0, self.rate_s * _BURST_S), self.left + (now_s - self.at_s) * self.rate_s)
        self.at_s = now_s
        if self.left < 1:
            return (1 - self.left) / self.rate_s
        self.left -= 1
        return 0.0


@final
@dataclass(slots=True)
class Room:
    """What bodies that are read and not yet answered may come to, together: a large one waits until others are done."""

    most_byte: int = 512 * 2**20
    held_byte: int = field(default=0, init=False)

    def enter(self, byte: int) -> None:
        """Take room; raises `RefusedError` (503) if there is not so much."""
        if self.held_byte + byte > self.most_byte:
            raise RefusedError(503, "Too much is being sent here at once.", retry_s=1.0)
        self.held_byte += byte

    def leave(self, byte: int) -> None:
        """Give room back."""
        self.held_byte -= byte


@final
@dataclass(slots=True, eq=False)
class Door:
    """Lets callers in by key; without any key (`keyless`) everybody who reaches the loopback address is "local".

    `hosts` are the names, without port, under which this server may be asked; `share` is the part of every rate that
    this process may let in, where several share it.
    """

    ring: Ring
    keyless: bool
    hosts: frozenset[str] = LOOPBACK
    share: float = 1.0
    buckets: dict[str, Bucket] = field(default_factory=dict)
    room: Room = field(default_factory=Room)

    def caller(self, headers: Headers, role: Role = "caller") -> Caller:
        """Who asks; raises `RefusedError`: 403 for a foreign host, page or role, 401 without a key that holds."""
        self._at_home(headers)
        caller = self._known(headers)
        if role == "admin" and caller.role != "admin":
            raise RefusedError(403, "This needs the key of an admin.")
        return caller

    def pace(self, caller: Caller) -> None:
        """Count a request; raises `RefusedError` (429) if the tenant's rate is used up."""
        rate_s = caller.tenant.rate_s * self.share
        if not rate_s:
            return
        bucket = self.buckets.get(caller.tenant.name)
        if bucket is None or bucket.rate_s != rate_s:
            bucket = self.buckets[caller.tenant.name] = Bucket(rate_s)
        wait_s = bucket.take()
        if wait_s:
            raise RefusedError(429, f"More than {caller.tenant.rate_s} requests per second.", retry_s=wait_s)

    def _at_home(self, headers: Headers) -> None:
        """Refuse what a page elsewhere made a browser send, and names that somebody let point to this machine."""
        if _name(headers.get(b"host", b"")) not in self.hosts:
            raise RefusedError(403, "This server is not asked under that name.")
        origin = headers.get(b"origin")
        if origin is not None and _name(origin.partition(b"://")[2]) not in self.hosts:
            raise RefusedError(403, "This server is not asked from pages elsewhere.")

    def _known(self, headers: Headers) -> Caller:
        if self.keyless:
            return _LOCAL
        kind, _, shown = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        caller = self.ring.caller(shown) if kind.lower() == "bearer" else None
        if caller is None:
            raise RefusedError(401, "This needs a key: send Authorization: Bearer pw_….")
        return caller


def _name(host: bytes) -> str:
    """The host without its port, in lower case."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
