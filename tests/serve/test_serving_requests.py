"""A request is answered after its row is on the disk, once its key, its rate and its budget allow it."""

import asyncio

import numpy as np
import pytest
from serving import question, server
from sqlalchemy import text

from pennyweight.store.team.opened import reading

ROW = [[1, 2, 3, 4]]
PATH = "/v2/models/digits/infer"


def usage(engine):
    with reading(engine) as link:
        return tuple(link.execute(text("SELECT count(*), coalesce(sum(cost_nusd), 0) FROM usage")).one())


def test_an_answer_is_that_of_the_model_and_is_recorded(store):
    async def ask():
        async with server(store) as here:
            reply = await here.client.post(PATH, json=question(ROW))
            assert reply.status_code == 200
            assert reply.headers["x-model-version"] == "1"
            assert reply.json()["outputs"][0]["data"] == [2, 4, 6, 8]
            assert usage(here.engine) == (1, 1000)

    asyncio.run(ask())


def test_what_waits_while_a_batch_is_computed_is_the_next_batch(store):
    async def ask():
        async with server(store) as here:
            replies = await asyncio.gather(*(here.client.post(PATH, json=question([[n] * 4])) for n in range(40)))
            assert [reply.json()["outputs"][0]["data"][0] for reply in replies] == [2 * n for n in range(40)]
            assert sum(here.session.batches) == 40
            assert len(here.session.batches) < 20
            assert usage(here.engine) == (40, 40_000)

    asyncio.run(ask())


def test_one_bad_request_in_a_batch_fails_alone_and_is_not_charged(store):
    async def ask():
        async with server(store) as here:
            bad = question(ROW)
            bad["inputs"][0]["datatype"] = "FP32"
            bad["inputs"][0]["shape"] = [1, 2, 2]
            posts = [here.client.post(PATH, json=each) for each in (question(ROW), bad, question(ROW))]
            replies = await asyncio.gather(*posts)
            assert [reply.status_code for reply in replies] == [200, 400, 200]
            assert "rows of 4" in replies[1].json()["error"]
            assert usage(here.engine) == (2, 2000)

    asyncio.run(ask())


def test_a_hundred_at_once_spend_what_the_budget_holds_and_not_one_more(store):
    async def ask():
        async with server(store, limit_nusd=30_500) as here:
            replies = await asyncio.gather(*(here.client.post(PATH, json=question(ROW)) for _ in range(100)))
            codes = [reply.status_code for reply in replies]
            assert codes.count(200) == 30
            assert codes.count(429) == 70
            refused = next(reply for reply in replies if reply.status_code == 429)
            assert "budget of the tenant per day is used up" in refused.json()["error"]
            assert 0 < int(refused.headers["retry-after"]) <= 86_400
            assert usage(here.engine) == (30, 30_000)

    asyncio.run(ask())


def test_a_rate_is_kept_and_the_reply_says_when_to_come_again(store):
    async def ask():
        async with server(store, rate_s=5) as here:
            replies = [await here.client.post(PATH, json=question(ROW)) for _ in range(12)]
            codes = [reply.status_code for reply in replies]
            assert codes[:5] == [200] * 5
            assert codes[-1] == 429
            assert replies[-1].headers["retry-after"] == "1"

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer pw_000000000000_" + 43 * "a"}, 401),
        ({"authorization": "Basic cm9vdDpyb290"}, 401),
        ({"authorization": "Bearer ' OR 1=1; --"}, 401),
        ({"authorization": "Bearer " + "x" * 8000}, 401),
        ({"host": "evil.test"}, 403),
        ({"host": "127.0.0.1.evil.test"}, 403),
        ({"host": "evil.test/v2/health/live?"}, 403),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_who_has_no_key_or_comes_from_elsewhere_is_not_let_in_on_any_path(tmp_path, headers, code):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            for method, path in (("POST", PATH), ("GET", "/v2/models/digits"), ("GET", "/v2/models/digits/ready")):
                reply = await here.client.request(method, path, headers=headers, content=b"{}")
                assert reply.status_code == code
            assert here.session.batches == []

    asyncio.run(ask())


@pytest.mark.parametrize("path", ["/v2/models/none/infer", "/v2/models/digits/versions/9/infer"])
def test_what_is_not_served_is_not_found(tmp_path, path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            assert (await here.client.post(path, json=question(ROW))).status_code == 404

    asyncio.run(ask())


def test_when_the_store_cannot_be_written_nobody_is_answered_and_afterwards_all_are(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as here:
            with here.engine.begin() as link:
                link.execute(text("CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'full'); END"))
            reply = await here.client.post(PATH, json=question(ROW))
            assert reply.status_code == 503
            assert reply.json() == {"error": "The store cannot be written; nothing was charged."}
            with here.engine.begin() as link:
                link.execute(text("DROP TRIGGER full"))
            assert (await here.client.post(PATH, json=question(ROW))).status_code == 200
            assert usage(here.engine) == (1, 1000)

    asyncio.run(ask())


def test_a_revoked_key_opens_nothing_a_moment_later(store):
    async def ask():
        async with server(store) as here:
            assert (await here.client.get("/v2/models/digits")).status_code == 200
            with here.engine.begin() as link:
                link.execute(text("UPDATE key SET revoked_ns = 1"))
            await here.keeper.once()
            assert (await here.client.get("/v2/models/digits")).status_code == 401

    asyncio.run(ask())


def test_a_lease_that_was_lost_is_not_charged_and_the_caller_is_told(store):
    async def ask():
        async with server(store, limit_nusd=10**9) as here:
            assert (await here.client.post(PATH, json=question(ROW))).status_code == 200
            with here.engine.begin() as link:
                link.execute(text("DELETE FROM lease"))
            reply = await here.client.post(PATH, json=question(ROW))
            assert reply.status_code == 503
            assert "nothing was charged" in reply.json()["error"]
            assert usage(here.engine) == (1, 1000)

    asyncio.run(ask())


def test_a_caller_that_hangs_up_before_its_turn_costs_nothing(tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db"), limit_nusd=10**6) as here:
            lane = here.shelf.get("digits").lane
            done = lane.ask(np.ones((1, 4), np.float32))
            done.cancel()
            await asyncio.sleep(0.01)
            assert here.session.batches == []
            assert lane.idle

    asyncio.run(ask())
