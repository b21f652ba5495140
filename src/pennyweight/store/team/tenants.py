"""Organisations, their tenants, and the keys by which callers are known; of a key only a hash is kept."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select, update

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.names import named
from pennyweight.store.team.periods import span
from pennyweight.store.team.tables import key, organisation, tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection

Role = Literal["caller", "admin"]
ROLES: tuple[Role, ...] = ("caller", "admin")
_KEY = re.compile(r"pw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays: part of an organisation, in a time zone, with at most `rate_s` requests per second (0: no limit)."""

    name: str
    organisation: str
    zone: str = "UTC"
    rate_s: int = 0
    open: bool = True


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept: its `id` may be shown, of the secret there is the SHA-256 `digest`."""

    id: str
    tenant: str
    role: Role
    digest: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the key, the tenant and what it may do."""

    key: str
    tenant: Tenant
    role: Role

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """Whose budgets pay, as (level, name)."""
        return ("key", self.key), ("tenant", self.tenant.name), ("organisation", self.tenant.organisation)


def add_tenant(link: Connection, wanted: Tenant) -> Tenant:
    """Add a tenant, and its organisation if that is new; raises `BadInputError` if the name is taken."""
    named("tenant", wanted.name), named("organisation", wanted.organisation)
    span("day", wanted.zone, 0)
    if wanted.rate_s < 0:
        raise BadInputError(f"A rate cannot be {wanted.rate_s} requests per second.", "give 0 for no limit, or more.")
    if link.execute(select(tenant).where(tenant.c.name == wanted.name)).first():
        raise BadInputError(f"There is a tenant named {wanted.name} already.", "choose another name.")
    now = time.time_ns()
    if not link.execute(select(organisation).where(organisation.c.name == wanted.organisation)).first():
        link.execute(insert(organisation), {"name": wanted.organisation, "made_ns": now})
    facts = {"name": wanted.name, "organisation": wanted.organisation, "zone": wanted.zone, "rate_s": wanted.rate_s}
    link.execute(insert(tenant), facts | {"made_ns": now, "closed_ns": 0})
    return wanted


def tenants(link: Connection) -> tuple[Tenant, ...]:
    """All tenants, by name."""
    rows = link.execute(select(tenant).order_by(tenant.c.name))
    return tuple(Tenant(row.name, row.organisation, row.zone, row.rate_s, not row.closed_ns) for row in rows)


def close(link: Connection, name: str) -> None:
    """Let a tenant ask no more; its bills stay. Raises `UnknownNameError` if there is none of that name."""
    _known(link, name)
    link.execute(update(tenant).where(tenant.c.name == name).values(closed_ns=time.time_ns()))


def add_key(link: Connection, owner: str, role: Role = "caller") -> str:
    """Make a key for a tenant and return it: it can never be read again."""
    _known(link, owner)
    if role not in ROLES:
        raise UnknownNameError.of("role", role, ROLES)
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    facts = {"id": id_, "tenant": owner, "digest": _digest(secret), "role": role}
    link.execute(insert(key), facts | {"made_ns": time.time_ns(), "revoked_ns": 0})
    return f"pw_{id_}_{secret}"


def revoke(link: Connection, id_: str) -> None:
    """Let a key open nothing from now on; raises `UnknownNameError` if there is none."""
    if not link.execute(update(key).where(key.c.id == id_).values(revoked_ns=time.time_ns())).rowcount:
        raise UnknownNameError.of("key", id_[:16], (row.id for row in link.execute(select(key.c.id))))


def keys(link: Connection) -> tuple[Key, ...]:
    """All keys that hold, by tenant."""
    rows = link.execute(select(key).where(key.c.revoked_ns == 0).order_by(key.c.tenant, key.c.made_ns))
    return tuple(Key(row.id, row.tenant, row.role, row.digest) for row in rows)


@dataclass(frozen=True)
class Ring:
    """All keys and tenants at one moment, for finding out who asks without looking into the database."""

    callers: dict[str, tuple[str, Caller]]

    @classmethod
    def of(cls, link: Connection) -> Ring:
        """Read them all; time and memory grow with the number of keys."""
        known = {each.name: each for each in tenants(link) if each.open}
        found = ((each, known.get(each.tenant)) for each in keys(link))
        return cls({each.id: (each.digest, Caller(each.id, who, each.role)) for each, who in found if who})

    def caller(self, shown: str) -> Caller | None:
        """Whose key that is, None if nobody's; takes as long for a wrong secret as for a right one."""
        parts = _KEY.fullmatch(shown)
        if parts is None:
            return None
        digest, caller = self.callers.get(parts[1], ("", None))
        return caller if compare_digest(digest, _digest(parts[2])) else None


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _known(link: Connection, name: str) -> None:
    if not link.execute(select(tenant.c.name).where(tenant.c.name == name)).first():
        raise UnknownNameError.of("tenant", name, (each.name for each in tenants(link)))
