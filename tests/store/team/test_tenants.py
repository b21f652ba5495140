"""A key is shown once, opens until it is revoked, and nothing of it can be read from the database."""

import pytest
from sqlalchemy import text

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.store.team.opened import opened
from pennyweight.store.team.tenants import Ring, Tenant, add_key, add_tenant, close, keys, revoke, tenants


@pytest.fixture
def link(store):
    with opened(store) as engine, engine.begin() as link:
        add_tenant(link, Tenant("acme", "group", "Europe/Berlin", 100))
        yield link


def test_a_key_says_whose_it_is_and_the_database_does_not_hold_it(link):
    shown = add_key(link, "acme")
    caller = Ring.of(link).caller(shown)
    assert caller.tenant == Tenant("acme", "group", "Europe/Berlin", 100)
    assert caller.owners == (("key", caller.key), ("tenant", "acme"), ("organisation", "group"))
    held = str(link.execute(text("SELECT * FROM key")).all())
    assert shown.rpartition("_")[2] not in held


def test_another_secret_opens_nothing(link):
    shown = add_key(link, "acme")
    ring = Ring.of(link)
    for wrong in (shown[:-1] + ("a" if shown[-1] != "a" else "b"), "", "pw_", shown + "x", f"{shown}\n", "' OR 1=1 --"):
        assert ring.caller(wrong) is None


def test_a_revoked_key_and_one_of_a_closed_tenant_open_nothing(link):
    add_tenant(link, Tenant("other", "group"))
    gone, shut = add_key(link, "acme"), add_key(link, "other")
    revoke(link, gone.split("_")[1])
    close(link, "other")
    ring = Ring.of(link)
    assert ring.caller(gone) is None
    assert ring.caller(shut) is None
    assert [each.tenant for each in keys(link)] == ["other"]
    assert [each.open for each in tenants(link)] == [True, False]


def test_a_name_is_taken_once_and_unknown_ones_are_said(link):
    with pytest.raises(BadInputError, match="named acme already"):
        add_tenant(link, Tenant("acme", "group"))
    with pytest.raises(UnknownNameError, match="use one of: acme"):
        add_key(link, "acne")
    with pytest.raises(UnknownNameError, match="role"):
        add_key(link, "acme", "root")
    with pytest.raises(UnknownNameError, match="key"):
        revoke(link, "000000000000")
