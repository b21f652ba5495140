"""A server watches what it serves by itself: labels that show a broken floor take production back, once."""

import asyncio
import contextlib
import json
import re
import signal
import time

import httpx
import numpy as np
import pytest
from multiples import ME, ROWS, added, asked, factor, until
from processes import call, start
from sqlalchemy import func, select

from pennyweight.errors import BadInputError
from pennyweight.serve.place import Place, Watch
from pennyweight.serve.running import parts
from pennyweight.serve.versions.minding import settings
from pennyweight.serve.watch.watching import Watcher
from pennyweight.store.team import registry, rollouts
from pennyweight.store.team.alerts import alerts
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.rollouts import Rollout
from pennyweight.store.team.tables import answer, usage
from pennyweight.store.team.usage import Price, set_price

INFER, LABELS = "/v2/models/times/infer", "/v2/models/times/labels"
SURE = {"held": True, "floor": "accuracy at least 0.9, 95% sure", "text": "at least 90%"}
RIGHT, WRONG = 3.0, 0.0  # of four rising numbers the last is the largest, whatever they are multiplied by


def team(store, place):
    """Two certified versions of "times"; the second is in production, and before it the first was."""
    with opened(str(store)) as engine, engine.begin() as link:
        set_price(link, Price("times", request_nusd=1000))
        for n in (1, 2):
            added(link, place / "artifacts", n, certificate=SURE | {"n": n})
            registry.promote(link, f"times@{n}", "production", ME)
    return str(store)


@pytest.fixture
def store(store, tmp_path):
    return team(store, tmp_path)


@contextlib.contextmanager
def running(place, store, *words):
    """A server as a person starts it, and a client of it."""
    server = start(place, "serve", "times", "--port", "0", "--store", store, *words)
    said = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found, (said, *server.communicate(timeout=120))
    with httpx.Client(base_url=found[0], timeout=120) as client:
        yield client
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=120)
    assert (server.returncode, err) == (0, ""), out


@contextlib.asynccontextmanager
async def servers(store, count=1, **watch):
    """Clients of servers in this event loop that share a store, each of which watches by itself."""
    async with contextlib.AsyncExitStack() as stack:
        engine = stack.enter_context(opened(store))
        found = []
        for _ in range(count):
            place = Place(("times",), store=store, watch=Watch(**{"every_s": 0.1, **watch}))
            face = await stack.enter_async_context(parts(engine, place))
            client = httpx.AsyncClient(transport=httpx.ASGITransport(face.app()), base_url="http://127.0.0.1")
            found.append(await stack.enter_async_context(client))
        yield engine, found


@pytest.fixture
def at_once(monkeypatch):
    """Labels count as soon as they are there: these servers take turns, so none of their transactions is slow."""
    monkeypatch.setattr(Watcher, "__init__", _impatient(Watcher.__init__))


def _impatient(made):
    def init(self, *given, **more):
        made(self, *given, **more)
        self.slow_s = -0.1

    return init


async def eventually(what, within_s=120.0):
    end_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end_s, "it did not come about in time"
        await asyncio.sleep(0.02)


async def all_answer(clients, n):
    """Ask every server until version n answers."""
    for each in clients:
        while factor(await each.post(INFER, json=asked())) != n:
            pass


def told(ids, label):
    """The body that says of two rows of each request what would have been right."""
    return [{"request": id_, "row": row, "label": label} for id_ in ids for row in range(len(ROWS))]


def kinds(engine):
    with reading(engine) as link:
        return [each.kind for each in registry.history(link, "times")]


def kept(engine):
    with reading(engine) as link:
        return link.execute(select(func.count()).select_from(answer)).scalar_one()


def test_labels_that_say_it_is_wrong_bring_back_the_last_certified_version_in_every_process(tmp_path):
    store = team(tmp_path / "team.db", tmp_path)
    with running(tmp_path, store, "--workers", "2", "--watch-every", "0.5s") as client:
        replies = [client.post(INFER, json=asked()) for _ in range(150)]
        assert {factor(each) for each in replies} == {2}
        ids = [each.headers["x-request-id"] for each in replies]
        reply = client.post(LABELS, json=told(ids, WRONG))
        assert reply.status_code == 200
        assert reply.json()["labels"] == 300
        until(lambda: factor(client.post(INFER, json=asked())) == 1)
        with opened(store) as engine:
            assert kinds(engine).count("rollback") == 1
            with reading(engine) as link:
                move = registry.history(link, "times")[-1]
                (alert,) = alerts(link, "times")
        assert (move.who, move.number, move.before) == ("watch", 1, 2)
        assert "times@2 is below its floor of 90.00% right" in alert.text
        for _ in range(20):  # in both processes, for each call comes on a connection of its own
            until(lambda: factor(httpx.post(str(client.base_url.join(INFER)), json=asked(), timeout=120)) == 1)
    code, out, err = call(tmp_path, "alerts", "times", "--store", store, "--json")
    assert code == 0, err
    assert [each["kind"] for each in json.loads(out)] == ["floor"]


def test_labels_that_say_it_is_right_move_nothing(store, at_once):
    async def act():
        async with servers(store) as (engine, (client,)):
            ids = [(await client.post(INFER, json=asked())).headers["x-request-id"] for _ in range(150)]
            await eventually(lambda: kept(engine) == 300)
            assert (await client.post(LABELS, json=told(ids, RIGHT))).json() == {"labels": 300, "joined": 300}
            await asyncio.sleep(1.0)
            assert "rollback" not in kinds(engine)
            with reading(engine) as link:
                assert alerts(link, "times") == ()

    asyncio.run(act())


def test_two_servers_that_decide_the_same_roll_back_once_and_one_that_was_promoted_again_begins_anew(store, at_once):
    async def act():
        async with servers(store, 2) as (engine, clients):
            for _ in range(2):
                replies = [await each.post(INFER, json=asked()) for _ in range(75) for each in clients]
                ids = [each.headers["x-request-id"] for each in replies]
                await clients[0].post(LABELS, json=told(ids, WRONG))
                before = kinds(engine).count("rollback")
                await eventually(lambda before=before: kinds(engine).count("rollback") > before)
                await all_answer(clients, 1)
                with engine.begin() as link:
                    registry.promote(link, "times@2", "production", ME)
                await all_answer(clients, 2)
                await asyncio.sleep(0.5)  # some looks, after which neither has rolled back by old labels
                assert kinds(engine)[-1] == "promote"
            assert kinds(engine).count("rollback") == 2

    asyncio.run(act())


def test_inputs_that_are_unlike_the_first_ones_are_told_of(store):
    async def act():
        async with servers(store) as (engine, (client,)):
            rng = np.random.default_rng(0)

            def heard():
                with reading(engine) as link:
                    return [each.kind for each in alerts(link, "times")]

            async def ask(shift):
                reply = await client.post(INFER, json=asked(rng.normal(size=(50, 4)) + shift))
                assert reply.status_code == 200
                await asyncio.sleep(0.02)

            for _ in range(200):  # which is more than a first reference takes
                await ask(0.0)
            assert heard() == []
            end_s = time.monotonic() + 120
            while not heard() and time.monotonic() < end_s:
                await ask(3.0)
            assert heard() == ["drift"]
            with reading(engine) as link:
                assert "times@2: " in alerts(link, "times")[0].text

    asyncio.run(act())


def test_what_was_answered_before_a_switch_or_the_end_is_kept(store):
    async def act():
        async with servers(store, every_s=2.0) as (engine, (client,)):
            for n in (2, 1):
                with engine.begin() as link:
                    registry.promote(link, f"times@{n}", "production", ME)
                await all_answer([client], n)
                assert factor(await client.post(INFER, json=asked())) == n
        with opened(store) as engine, reading(engine) as link:
            asked_for = sum(link.execute(select(usage.c.out_units)).scalars())
            rows = link.execute(select(answer.c.number)).scalars().all()
        assert len(rows) == asked_for
        assert set(rows) == {1, 2}

    asyncio.run(act())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--watch-every", "never"), "duration"),
        (("--watch-every", "8d"), "nobody can look"),
        (("--keep-answers", "150%"), "no share of answers"),
    ],
)
def test_what_is_no_way_to_watch_is_said_before_anything_is_served(tmp_path, words, said):
    code, _, err = call(tmp_path, "serve", "times", "--store", tmp_path / "team.db", *words)
    assert code == 2
    assert said in err
    assert "To fix:" in err


def test_a_server_that_is_told_not_to_watch_keeps_nothing(store):
    async def act():
        async with servers(store, on=False) as (engine, (client,)):
            for _ in range(5):
                await client.post(INFER, json=asked())
            await asyncio.sleep(0.3)
            assert kept(engine) == 0

    asyncio.run(act())


def test_only_a_share_of_the_answers_is_kept_where_that_is_wanted(store):
    async def act():
        async with servers(store, keep=0.3) as (engine, (client,)):
            for _ in range(200):
                assert factor(await client.post(INFER, json=asked())) == 2
            await eventually(lambda: kept(engine) > 60)
            await asyncio.sleep(0.3)
            assert 60 < kept(engine) < 180

    asyncio.run(act())


def test_while_a_version_is_tried_the_others_answers_are_kept_too(store):
    async def act():
        async with servers(store) as (engine, (client,)):
            with engine.begin() as link:
                trial = Rollout("times", "production", 1, 500_000, False, time.time_ns() + 60 * 10**9, "ann")
                rollouts.begin(link, trial)
            seen = set()
            while seen != {1, 2}:
                seen.add(factor(await client.post(INFER, json=asked())))
            await eventually(lambda: kept(engine) >= 2)

    asyncio.run(act())


@pytest.mark.parametrize("wrong", [{"every_s": 0.0}, {"every_s": float("nan")}, {"every_s": 1e9}, {"keep": 1.5}])
def test_a_watch_that_cannot_be_is_refused(wrong):
    with pytest.raises(BadInputError, match=r"nobody can look|no share of answers"):
        Watch(**wrong)


def test_however_often_one_looks_and_however_many_look_a_week_has_few_false_alarms():
    hourly = settings(Watch())
    assert hourly.spending.looks == 168
    assert hourly.spending.level * 168 == pytest.approx(0.05)
    often = settings(Watch(every_s=60), share=0.25)
    assert often.spending.level * 7 * 24 * 60 * 4 == pytest.approx(0.05)
