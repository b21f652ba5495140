"""Nobody comes in without a key, from a foreign host or page, or as somebody else; on any route and by any method."""

import asyncio

import httpx
import psutil
import pytest
from serving import server
from sqlalchemy import text
from wires import PATH, head, said, status

from pennyweight.serve.described import OPEN
from pennyweight.store.team.opened import opened, reading

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
NAMES = {"{model}": "times", "{number}": "1", "{alias}": "production", "{name}": "times"}


def filled_in(path):
    for name, value in NAMES.items():
        path = path.replace(name, value)
    assert "{" not in path, path
    return path


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """Every route that there is: (method, path)."""

    async def found():
        async with server(str(tmp_path_factory.mktemp("routes") / "team.db")) as here:
            return [(method, route.path) for route in here.app.rest.routes for method in sorted(route.methods)]

    listed = asyncio.run(found())
    assert len(listed) > 10
    return listed


def used(house):
    with opened(house.store) as engine, reading(engine) as link:
        return dict(link.execute(text("SELECT tenant, count(*) FROM usage GROUP BY tenant")).all())


def test_every_route_but_the_two_of_health_wants_a_key(house, routes):
    open_ones = set()
    for method, path in routes:
        reply = httpx.request(method, house.address + filled_in(path), timeout=60)
        if reply.status_code not in {401, 403}:
            open_ones.add(path)
    assert open_ones == OPEN
    assert len(OPEN) == 2


def test_the_documentation_of_frameworks_is_not_served(house):
    for path in ("/docs", "/redoc", "/admin", "/debug", "/static/../../etc/passwd", "/v2/repository/index", "/"):
        for method in ("GET", "POST"):
            reply = httpx.request(method, house.address + path, headers=house.bearer["admin"], timeout=60)
            assert reply.status_code in {404, 405}


def test_metrics_need_the_key_of_an_admin(house):
    assert httpx.get(f"{house.address}/metrics", headers=house.bearer["acme"], timeout=60).status_code == 403
    assert httpx.get(f"{house.address}/metrics", headers=house.bearer["admin"], timeout=60).status_code == 200


def test_a_fresh_server_listens_only_where_this_machine_asks(house):
    sockets = psutil.Process(house.process.pid).net_connections("all")
    assert [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN] == [("127.0.0.1", house.port)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"Host": "127.0.0.1.evil.test"},
        {"Host": "localhost.evil.test:80"},
        {"Host": "127.0.0.1", "Origin": "http://evil.test"},
        {"Host": "127.0.0.1", "Origin": "null"},
        {"Host": "127.0.0.1", "Origin": "file://"},
        {"Host": ""},
        {},
    ],
    ids=str,
)
def test_no_page_elsewhere_gets_an_answer_by_any_method(house, routes, method, headers):
    before = used(house)
    key = house.bearer["admin"]["authorization"]
    for path in sorted({filled_in(path) for _, path in routes if path not in OPEN}):
        raw = head(method, path, **headers, Authorization=key, Content_Type="text/plain", Content_Length="2")
        assert 400 <= status(said(house, raw + b"{}")) < 500
    assert used(house) == before


@pytest.mark.parametrize(
    "host",
    [
        "x/v2/health/live?x=",
        "127.0.0.1/v2/health/live?",
        "127.0.0.1#@evil.test",
        "127.0.0.1@evil.test",
        "[::1].evil.test",
        "127.0.0.1\x00.evil.test",
        "127.0.0.1\tevil",
    ],
)
def test_a_host_that_is_a_path_opens_nothing(house, host):
    for path in ("/metrics", "/v2/models/times"):
        assert status(said(house, head("GET", path, Host=host))) in {400, 401, 403}
    reply = said(house, head("GET", "http://127.0.0.1/v2/health/live/../../metrics", Host=host))
    assert status(reply) in {400, 401, 403, 404}


def test_a_path_is_what_the_request_says_and_not_what_a_proxy_might_have_meant(house):
    for more in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Host", "Forwarded"):
        raw = head("GET", "/metrics", Host="127.0.0.1", **{more.replace("-", "_"): "/v2/health/live"})
        assert status(said(house, raw)) == 401
    for path in ("//metrics", "/metrics/", "/./metrics", "/v2/health/live/../../../metrics", "/%6detrics"):
        reply = said(house, head("GET", path, Host="127.0.0.1"))
        assert status(reply) in {400, 401, 404}
        assert b"location:" not in reply.lower()


KEYS = [
    "' OR '1'='1",
    "'; DROP TABLE key; --",
    "pw_000000000000_' UNION SELECT digest FROM key --",
    "pw_%_%",
    "pw_______________",
    '{"$ne": null}',
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}",
    "pw_" + "a" * 100_000,
    "\xff\xfe",
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key[:20]))
@pytest.mark.parametrize("kind", ["Bearer ", "bearer ", "", "Basic ", "Bearer\t"])
def test_a_key_is_looked_up_and_never_part_of_a_statement(house, key, kind):
    reply = said(house, head("POST", PATH, Host="127.0.0.1", Authorization=kind + key, Content_Length="0"))
    assert reply == b"" or status(reply) in {400, 401, 431}
    assert httpx.get(f"{house.address}/v2/models/times", headers=house.bearer["acme"], timeout=60).status_code == 200


def test_a_key_is_kept_as_a_hash(house):
    with opened(house.store) as engine, reading(engine) as link:
        rows = [tuple(row) for row in link.execute(text("SELECT * FROM key"))]
    for key in house.keys.values():
        secret = key.split("_", 2)[2]
        assert len(secret) == 43
        assert not any(secret in str(row) for row in rows)


def test_who_asks_is_who_has_the_key_whatever_else_is_said(house):
    before = used(house)
    body = house.question | {"parameters": {"tenant": "beta", "key": house.keys["beta"]}, "tenant": "beta"}
    claims = {"x-tenant": "beta", "x-forwarded-user": "beta", "x-api-key": house.keys["beta"], "cookie": "tenant=beta"}
    reply = httpx.post(
        f"{house.address}{PATH}?tenant=beta&key={house.keys['beta']}",
        json=body,
        headers=claims | house.bearer["acme"],
        timeout=60,
    )
    assert reply.status_code == 200
    after = used(house)
    assert after.get("acme", 0) == before.get("acme", 0) + 1
    assert after.get("beta", 0) == before.get("beta", 0)


def test_an_upgrade_to_another_protocol_is_not_a_way_in(house):
    raw = head(
        "GET", "/metrics", Host="127.0.0.1", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="AAAA",
        Sec_WebSocket_Version="13",
    )  # fmt: skip
    assert status(said(house, raw)) in {400, 401, 403}


def test_two_lengths_in_one_request_are_refused(house):
    """What one reads as a body another would read as the next request."""
    smuggled = head("POST", PATH, Host="127.0.0.1", Content_Length="4", Transfer_Encoding="chunked") + b"0\r\n\r\nGET "
    assert status(said(house, smuggled)) == 400
    twice = head("POST", PATH, Host="127.0.0.1", Content_Length="4\r\nContent-Length: 5") + b"abcd"
    assert status(said(house, twice)) == 400
