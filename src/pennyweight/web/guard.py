"""Who may look and who may change: host and origin, a key or a session, and a token in every form."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from secrets import token_bytes, token_urlsafe
from typing import TYPE_CHECKING, final

from pennyweight.serve.door import LOOPBACK, Door
from pennyweight.serve.refused import RefusedError
from pennyweight.serve.versions.registering import who
from pennyweight.store.team.tenants import Caller, Ring

if TYPE_CHECKING:
    from collections.abc import Mapping

    Headers = Mapping[bytes, bytes]

COOKIE = "pennyweight_session"
SESSION_S = 12 * 3600
_MOST_SESSIONS = 1000
_OURS = frozenset({b"same-origin", b"none"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks: the caller, the name that the history tells, and the token of this visitor's forms."""

    caller: Caller
    name: str
    token: str
    keyed: bool


@final
@dataclass(slots=True, eq=False)
class Guard:
    """Everybody who reaches the loopback address may look as long as there is no key; then only admins may.

    What is shown is of all tenants, so the key of a caller opens nothing here. `open_here` is whether this listens on
    a loopback address only.
    """

    open_here: bool
    hosts: frozenset[str] = LOOPBACK
    door: Door = field(init=False)
    gate: Door = field(init=False)
    secret: bytes = field(default_factory=lambda: token_bytes(32))
    sessions: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nobody let in."""
        self.door = Door(Ring({}), keyless=False, hosts=self.hosts)
        self.gate = Door(Ring({}), keyless=True, hosts=self.hosts)

    def at_home(self, headers: Headers, method: str) -> None:
        """Refuse (403) a foreign host, a foreign page, and what another site made a browser send."""
        self.gate.caller(headers)
        site = headers.get(b"sec-fetch-site", b"none")
        if method not in {"GET", "HEAD"} and site not in _OURS:
            raise RefusedError(403, "This server is not asked from pages elsewhere.")

    def know(self, ring: Ring) -> None:
        """Take in the keys that hold now."""
        self.door.ring = ring
        self.door.keyless = self.open_here and not ring.callers

    def visitor(self, headers: Headers) -> Visitor:
        """Who looks; raises `RefusedError`: 401 without a key or session, 403 if it is not an admin's."""
        if self.door.keyless:
            return Visitor(self.door.caller(headers), who(), self._token(""), keyed=False)
        session = _cookie(headers)
        caller = self._session(session) if session else None
        if caller is None:
            caller = self.door.caller(headers, "admin")
        return Visitor(caller, f"{caller.tenant.name}/{caller.key}"[:64], self._token(session), keyed=True)

    def admit(self, key: str) -> str:
        """A new session for an admin's key; raises `RefusedError` (403) for any other."""
        caller = self.door.ring.caller(key.strip())
        if caller is None or caller.role != "admin":
            raise RefusedError(403, "This is not the key of an admin: pennyweight tenants key TENANT --role admin")
        now_s = time.monotonic()
        self.sessions = {each: of for each, of in self.sessions.items() if of[1] > now_s}
        if len(self.sessions) >= _MOST_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        session = token_urlsafe(32)
        self.sessions[session] = (caller.key, now_s + SESSION_S)
        return session

    def leave(self, headers: Headers) -> None:
        """End a session."""
        self.sessions.pop(_cookie(headers), None)

    def check(self, visitor: Visitor | None, token: str) -> None:
        """Refuse (403) a form that was not drawn for this visitor; None: for nobody yet."""
        wanted = visitor.token if visitor else self.stranger()
        if not hmac.compare_digest(wanted.encode(), token.encode()):
            raise RefusedError(403, "This form is old or not of this page: load the page again.")

    def stranger(self) -> str:
        """The token of the form by which one comes in."""
        return self._token("login")

    def _session(self, session: str) -> Caller | None:
        """Whose session that is while it lasts and its key holds."""
        key, until_s = self.sessions.get(session, ("", 0.0))
        _, caller = self.door.ring.callers.get(key, ("", None))
        return caller if caller and caller.role == "admin" and time.monotonic() < until_s else None

    def _token(self, of: str) -> str:
        return hmac.new(self.secret, of.encode(), "sha256").hexdigest()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
