"""Nobody looks from elsewhere, changes anything by a link, or sees more than their key allows."""

import asyncio
import re

import httpx
import pytest
from furnished import HERE, dashboard

from pennyweight.errors import BadInputError
from pennyweight.store.team import registry
from pennyweight.store.team.opened import reading
from pennyweight.store.team.tenants import revoke
from pennyweight.web.fence import CSP
from pennyweight.web.pages import PAGES
from pennyweight.web.running import Where, show

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
MOVE = {"does": "promote", "model": "digits", "to": "production", "number": "3", "before": "2", "why": "try"}


def run(folder, do, **facts):
    """Do something with a dashboard."""

    async def done():
        async with dashboard(folder, **facts) as here:
            return await do(here)

    return asyncio.run(done())


def stands(here):
    with reading(here.engine) as link:
        return registry.pointed(link, "digits")


async def token(here, path="/registry/move?version=digits@3&to=production"):
    """The token of the form on a page."""
    reply = await here.client.get(path)
    return re.search(r'name="token" value="(\w+)"', reply.text)[1]


def paths(here):
    """Every path there is, filled in."""
    found = [route.path for route in here.app.inside.routes]
    assert len(found) > 18
    return [each.replace("{id}", "2").replace("{name}", "live.js") for each in found if each != "/live/stream"]


def test_every_reply_has_the_policy_and_allows_nothing_inline(tmp_path):
    async def do(here):
        asked = [*paths(here), "/nothing", "/static/..%2fapp.py", "/runs/99"]
        return [await here.client.request(method, path) for path in asked for method in METHODS]

    replies = run(tmp_path, do)
    assert len(replies) > 150
    for reply in replies:
        assert reply.headers.get_list("content-security-policy") == [CSP]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
    assert "unsafe" not in CSP
    assert "http" not in CSP


def test_a_foreign_host_or_page_is_refused_whatever_the_method_and_path(tmp_path):
    async def do(here):
        foreign = (
            {"host": "evil.test"},
            {"host": "127.0.0.1.evil.test:8100"},
            {"origin": "http://evil.test"},
            {"origin": "null"},
        )
        asked = [(method, path, extra) for path in paths(here) for method in METHODS for extra in foreign]
        return [await here.client.request(method, path, headers=extra) for method, path, extra in asked]

    assert {reply.status_code for reply in run(tmp_path, do)} == {403}


def test_a_form_of_another_site_on_this_machine_is_refused(tmp_path):
    async def do(here):
        form = MOVE | {"token": await token(here)}
        reply = await here.client.post("/registry/move", data=form, headers={"sec-fetch-site": "same-site"})
        return reply.status_code, stands(here)

    assert run(tmp_path, do) == (403, 2)


def test_an_alias_moves_by_a_form_with_its_token_and_the_history_says_who_and_why(tmp_path):
    async def do(here):
        reply = await here.client.post("/registry/move", data=MOVE | {"token": await token(here)})
        with reading(here.engine) as link:
            return reply, registry.history(link, "digits")[-1]

    reply, event = run(tmp_path, do)
    assert (reply.status_code, reply.headers["location"]) == (303, "/registry")
    assert (event.kind, event.number, event.before, event.why) == ("promote", 3, 2, "try")
    assert event.who


def test_a_rollback_goes_where_its_page_said(tmp_path):
    async def do(here):
        page = await here.client.get("/registry/move?model=digits&to=production")
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        reply = await here.client.post("/registry/move", data=form)
        return form, reply.status_code, stands(here)

    form, status, number = run(tmp_path, do)
    assert (form["does"], form["number"], form["before"]) == ("rollback", "1", "2")
    assert (status, number) == (303, 1)


def test_a_form_that_was_overtaken_moves_nothing(tmp_path):
    async def do(here):
        form = MOVE | {"token": await token(here)}
        with here.engine.begin() as link:
            registry.promote(link, "digits@1", "production", registry.Move("eve"))
        reply = await here.client.post("/registry/move", data=form)
        return reply, stands(here)

    reply, number = run(tmp_path, do)
    assert (reply.status_code, number) == (400, 1)
    assert "meanwhile" in reply.text


@pytest.mark.parametrize("wrong", [{}, {"token": ""}, {"token": "0" * 64}, {"token": "é"}])
def test_a_form_without_its_token_moves_nothing(tmp_path, wrong):
    async def do(here):
        reply = await here.client.post("/registry/move", data=MOVE | wrong)
        return reply.status_code, stands(here)

    assert run(tmp_path, do) == (403, 2)


def test_every_form_there_is_wants_its_token(tmp_path):
    async def do(here):
        forms = [route.path for route in here.app.inside.routes if "POST" in route.methods]
        return {path: (await here.client.post(path, data=MOVE | {"key": "x"})).status_code for path in forms}

    assert run(tmp_path, do) == {"/registry/move": 403, "/login": 403, "/logout": 403}


def test_looking_changes_nothing_on_any_path(tmp_path):
    async def do(here):
        before = (tmp_path / "ledger.db").read_bytes()
        for path in paths(here):
            for method in ("GET", "HEAD"):
                await here.client.request(method, path, params=MOVE)
        with reading(here.engine) as link:
            return before == (tmp_path / "ledger.db").read_bytes(), len(registry.history(link, "digits"))

    assert run(tmp_path, do) == (True, 6)


def test_what_is_no_form_or_too_long_is_refused(tmp_path):
    async def do(here):
        long = await here.client.post("/registry/move", data={"why": "x" * 20_000})
        json = await here.client.post("/registry/move", json=MOVE)
        many = await here.client.post("/registry/move", data={f"a{number}": "1" for number in range(50)})
        return long.status_code, json.status_code, many.status_code

    assert run(tmp_path, do) == (413, 415, 400)


def test_with_keys_every_page_wants_one_of_an_admin(tmp_path):
    async def do(here):
        asked = [each for each in paths(here) if each not in {"/login", "/static/live.js"}]
        strangers = {path: await here.client.get(path) for path in asked}
        callers = [await here.client.get(path, headers=bearer(here, "caller")) for path in asked]
        admins = [await here.client.get(page.path, headers=bearer(here, "admin")) for page in PAGES]
        return strangers, callers, admins

    strangers, callers, admins = run(tmp_path, do, keyed=True)
    for path, reply in strangers.items():
        if path.endswith(".json"):
            assert reply.status_code == 401, path
        else:
            assert (reply.status_code, reply.headers.get("location")) in {(303, "/login"), (405, None)}, path
        assert "acme" not in reply.text
    assert {reply.status_code for reply in callers} <= {403, 405}
    assert {reply.status_code for reply in admins} == {200}


def bearer(here, role):
    return {"authorization": f"Bearer {here.keys[role]}"}


async def come_in(here, role="admin"):
    form = {"token": await token(here, "/login"), "key": here.keys[role]}
    return await here.client.post("/login", data=form)


def test_an_admin_comes_in_by_a_form_and_leaves_again(tmp_path):
    async def do(here):
        came = await come_in(here)
        inside = await here.client.get("/")
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', inside.text))
        kept = came.headers["set-cookie"].partition(";")[0]
        left = await here.client.post("/logout", data=form)
        again = await here.client.get("/", headers={"cookie": kept})
        return came, inside, left, again

    came, inside, left, again = run(tmp_path, do, keyed=True)
    cookie = came.headers["set-cookie"].lower()
    assert came.status_code == left.status_code == 303
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "pw_" not in cookie.partition("=")[2]
    assert inside.status_code == 200
    assert again.headers["location"] == "/login"


def test_a_callers_key_or_none_does_not_come_in(tmp_path):
    async def do(here):
        wrong = await here.client.post("/login", data={"token": await token(here, "/login"), "key": "pw_no"})
        foreign = await here.client.post("/login", data={"token": "0", "key": here.keys["admin"]})
        return (await come_in(here, "caller")).status_code, wrong.status_code, foreign.status_code

    assert run(tmp_path, do, keyed=True) == (403, 403, 403)


def test_a_session_ends_when_its_key_is_revoked(tmp_path):
    async def do(here):
        await come_in(here)
        before = await here.client.get("/tenants")
        with here.engine.begin() as link:
            revoke(link, here.keys["admin"].split("_")[1])
        return before.status_code, (await here.client.get("/tenants")).status_code

    assert run(tmp_path, do, keyed=True) == (200, 303)


def test_the_token_of_one_session_opens_no_form_of_another(tmp_path):
    async def do(here):
        await come_in(here)
        mine = await token(here)
        here.client.cookies.clear()
        await come_in(here)
        reply = await here.client.post("/registry/move", data=MOVE | {"token": mine})
        return reply.status_code, stands(here)

    assert run(tmp_path, do, keyed=True) == (403, 2)


def test_open_to_others_it_lets_nobody_in_without_a_key_even_if_all_are_revoked(tmp_path):
    async def do(here):
        with here.engine.begin() as link:
            for shown in here.keys.values():
                revoke(link, shown.split("_")[1])
        return (await here.client.get("/tenants.json")).status_code

    assert run(tmp_path, do, keyed=True, open_here=False) == 401


def test_it_does_not_listen_elsewhere_without_a_key(tmp_path):
    with pytest.raises(BadInputError, match="there is no key yet"):
        show(Where("0.0.0.0", 0, str(tmp_path / "team.db")), print)  # ruff: ignore[hardcoded-bind-all-interfaces]


def test_a_broken_store_or_page_is_told_without_paths_or_traces(tmp_path, monkeypatch, caplog):
    async def do(here):
        with here.engine.begin() as link:
            link.exec_driver_sql("DROP TABLE usage")
        (tmp_path / "ledger.db").write_bytes(b"this is no database" * 400)
        asked = ["/", "/live", "/bills.json", "/runs", "/ledger.json", "/runs/1"]
        return [await here.client.get(path) for path in asked]

    for reply in run(tmp_path, do):
        assert reply.status_code in {500, 503}
        assert not re.search(r"Traceback|sqlite|SELECT|usage\b|\.db|/tmp|" + re.escape(str(tmp_path)), reply.text)
    assert len(caplog.records) >= 6


def test_static_files_are_those_of_the_list_and_no_others(tmp_path):
    async def do(here):
        good = [await here.client.get(f"/static/{name}") for name in here.house.static]
        bad = ["VENDORED.txt", "web.css", "..%2fapp.py", "%2e%2e/app.py", "../../etc/passwd", "live.js%00", "LIVE.JS"]
        return good, [await here.client.get(f"/static/{name}") for name in bad]

    good, bad = run(tmp_path, do)
    assert {reply.status_code for reply in good} == {200}
    assert {reply.status_code for reply in bad} == {404}


def test_the_host_header_never_shows_up_in_where_a_reply_leads(tmp_path):
    async def do(here):
        async with httpx.AsyncClient(transport=here.client._transport, base_url=HERE) as bare:
            return [await bare.get(path, headers={"host": "localhost:1/x?"}) for path in ("/", "/runs/", "/login/")]

    for reply in run(tmp_path, do, keyed=True):
        assert reply.headers.get("location", "/login") == "/login"
        assert reply.status_code in {303, 403, 404}
