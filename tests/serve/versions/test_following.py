"""A server follows what an alias stands for: load, warm, prove, switch; whatever fails, what answered goes on."""

import asyncio
import contextlib
import time

import httpx
import numpy as np
import pytest
from multiples import CERTIFICATE, ME, ROWS, added, asked, factor, filled
from sqlalchemy import Connection, text

from pennyweight.errors import CorruptError
from pennyweight.serve.answering.trials import agreeing, drawn
from pennyweight.serve.place import Place
from pennyweight.serve.running import parts
from pennyweight.serve.versions import following
from pennyweight.serve.versions.goals import names
from pennyweight.store.team import alerts, labels, registry, rollouts, workers
from pennyweight.store.team.labels import Label
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.rollouts import Rollout
from pennyweight.store.team.tallies import tallies

PATH = "/v2/models/times/infer"
SOON_S = 1.0


class Here:
    """A server in the test's own event loop, its store, and a client."""

    def __init__(self, engine, client, folder):
        self.engine, self.client, self.folder = engine, client, folder

    def do(self, what, *more):
        with self.engine.begin() as link:
            return what(link, *more)

    async def factor(self, id_=""):
        return factor(await self.client.post(PATH, json=asked(id_=id_)))

    async def until(self, what, within_s=120.0):
        end_s = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < end_s, "it did not come about in time"
            await asyncio.sleep(0.02)

    def serving(self):
        with reading(self.engine) as link:
            (worker,) = workers.live(link)
        return worker.serves[0]

    def kinds(self):
        with reading(self.engine) as link:
            return [each.kind for each in registry.history(link, "times")]


@contextlib.asynccontextmanager
async def server(store, folder, models=("times",), **more):
    with opened(str(store)) as engine:
        async with parts(engine, Place(models, store=str(store), **more)) as face:
            transport = httpx.ASGITransport(face.app())
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                yield Here(engine, client, folder)


@pytest.fixture
def store(store, tmp_path):
    filled(store, tmp_path, 3)
    return store


@pytest.fixture
def file(tmp_path):
    filled(tmp_path / "team.db", tmp_path, 3)
    return tmp_path / "team.db"


def test_what_an_alias_stands_for_answers_within_a_second_and_so_does_what_it_goes_back_to(store, tmp_path):
    async def ask():
        async with server(store, tmp_path) as here:
            assert await here.factor() == 1
            for what, wanted in (("promote", 2), ("promote", 3), ("rollback", 2), ("rollback", 1)):
                begin_s = time.monotonic()
                if what == "promote":
                    here.do(registry.promote, f"times@{wanted}", "production", ME)
                else:
                    here.do(registry.rollback, "times", "production", ME)
                while await here.factor() != wanted:
                    pass
                assert time.monotonic() - begin_s < 5 * SOON_S  # a machine that is busy with other tests
                await here.until(lambda wanted=wanted: here.serving().number == wanted)

    asyncio.run(ask())


def test_requests_in_flight_end_on_the_version_that_they_began_with(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:

            async def many():
                replies = await asyncio.gather(*(here.client.post(PATH, json=asked()) for _ in range(20)))
                return [factor(each) for each in replies]

            seen = await many()  # before anybody can have followed
            here.do(registry.promote, "times@2", "production", ME)
            while seen[-1] != 2:
                seen += await many()
            assert seen == sorted(seen)
            assert {1, 2} == set(seen)

    asyncio.run(ask())


def test_a_version_that_answers_its_probes_differently_is_never_served_and_the_reason_is_kept(store, tmp_path):
    async def ask():
        async with server(store, tmp_path) as here:
            with here.engine.begin() as link:
                added(link, tmp_path / "artifacts", 4, honest=False)
                registry.promote(link, "times@4", "production", ME)
            await here.until(lambda: here.serving().why)
            assert "answers its probes differently" in here.serving().why
            assert here.serving().number == 1
            assert [await here.factor() for _ in range(5)] == [1] * 5
            assert here.kinds()[-1] == "refuse"
            assert [each.kind for each in here.do(alerts.alerts, "times")] == ["refused"]
            here.do(registry.promote, "times@2", "production", ME)
            await here.until(lambda: here.serving().number == 2)
            assert not here.serving().why
            assert await here.factor() == 2

    asyncio.run(ask())


def test_a_version_whose_file_is_gone_is_refused_once_and_not_again_at_every_look(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            with here.engine.begin() as link:
                gone = registry.add(link, registry.Version("times", 0, 64 * "e", str(tmp_path / "artifacts")))
                registry.promote(link, str(gone), "production", ME)
            await here.until(lambda: here.serving().why)
            await asyncio.sleep(3 * following.EVERY_S + 1)
            assert here.kinds().count("refuse") == 1
            assert await here.factor() == 1

    asyncio.run(ask())


def test_a_guarantee_is_not_lost_unless_somebody_allows_it(file, tmp_path):
    async def ask():
        with opened(str(file)) as engine, engine.begin() as link:
            for n, certificate in ((4, CERTIFICATE), (5, None)):
                added(link, tmp_path / "artifacts", n, certificate=certificate)
            registry.promote(link, "times@4", "production", ME)
        async with server(file, tmp_path) as here:
            here.do(registry.promote, "times@5", "production", ME)
            await here.until(lambda: here.serving().why)
            assert "times@5 has no certificate" in here.serving().why
            assert await here.factor() == 4
            here.do(registry.remark, registry.Remark("times", "allow", 5), ME)
            here.do(registry.promote, "times@5", "production", ME)
            await here.until(lambda: here.serving().number == 5)
            assert await here.factor() == 5
        with opened(str(file)) as engine, engine.begin() as link:
            registry.promote(link, "times@4", "production", ME)
        async with server(file, tmp_path, uncertified=True) as here:
            here.do(registry.promote, "times@3", "production", ME)
            await here.until(lambda: here.serving().number == 3)

    asyncio.run(ask())


def test_a_server_begins_with_the_version_before_if_the_present_one_cannot_be_proved(file, tmp_path):
    with opened(str(file)) as engine, engine.begin() as link:
        added(link, tmp_path / "artifacts", 4, honest=False)
        registry.promote(link, "times@4", "production", ME)

    async def ask():
        async with server(file, tmp_path) as here:
            assert await here.factor() == 1
            await here.until(lambda: here.serving().why)
        with pytest.raises(CorruptError, match="times@4 answers its probes differently"):
            async with server(file, tmp_path, ("times@4",)):
                pass

    asyncio.run(ask())


def test_several_versions_of_a_model_are_served_beside_each_other(file, tmp_path):
    with opened(str(file)) as engine, engine.begin() as link:
        registry.promote(link, "times@2", "staging", ME)

    async def ask():
        async with server(file, tmp_path, ("times", "times@staging", "times@3")) as here:

            async def at(name, number=""):
                path = f"/v2/models/{name}{number and f'/versions/{number}'}/infer"
                return factor(await here.client.post(path, json=asked()))

            assert [await at("times"), await at("times@staging"), await at("times@3")] == [1, 2, 3]
            assert await at("times", 3) == 3
            here.do(registry.promote, "times@3", "staging", ME)
            while await at("times@staging") != 3:
                pass
            assert [await at("times"), await at("times@3")] == [1, 3]

    asyncio.run(ask())


def test_a_name_is_the_models_unless_several_of_its_versions_are_asked_for():
    assert {name: each.asked for name, each in names(["a", "b@3"]).items()} == {"a": "a", "b": "b@3"}
    found = names(["a", "a@2", "a"])
    assert {name: each.alias for name, each in found.items()} == {"a": "production", "a@2": ""}


def trial(share=0.0, shadow=False, lasts_s=60.0, number=2, sticky=False):
    until_ns = time.time_ns() + int(lasts_s * 1e9)
    return Rollout("times", "production", number, round(share * 1e6), shadow, until_ns, "ann", sticky)


def test_a_share_of_the_requests_goes_to_the_candidate_and_the_same_request_always_to_the_same(store, tmp_path):
    async def ask():
        async with server(store, tmp_path) as here:
            made = here.do(rollouts.begin, trial(0.3))
            await here.until(lambda: here.serving().rollout == made.id)
            first = [await here.factor(f"r{n}") for n in range(100)]
            again = [await here.factor(f"r{n}") for n in range(100)]
            assert first == again
            assert first == [2 if drawn(made, f"r{n}") else 1 for n in range(100)]
            assert 10 < first.count(2) < 50
            here.do(rollouts.end, made, "rollback", ME)
            await here.until(lambda: not here.serving().rollout)
            assert {await here.factor(f"r{n}") for n in range(100)} == {1}
            with reading(here.engine) as link:
                sums = tallies(link, made)
                (count,) = link.execute(text("SELECT count(*) FROM usage")).scalars()
            assert count == 300
            assert (sums[1].requests, sums[2].requests) == (2 * first.count(1), 2 * first.count(2))

    asyncio.run(ask())


def test_a_shadow_is_compared_charged_to_nobody_and_told_to_nobody(store, tmp_path):
    async def ask():
        async with server(store, tmp_path) as here:
            made = here.do(rollouts.begin, trial(shadow=True))
            await here.until(lambda: here.serving().rollout == made.id)
            assert [await here.factor() for _ in range(20)] == [1] * 20

            def sums():
                with reading(here.engine) as link:
                    return tallies(link, made)

            await here.until(lambda: 2 in sums() and sums()[2].requests == 20)
            # both name the same class of each row, although the values differ
            assert (sums()[2].compared, sums()[2].agreed, sums()[2].errors) == (40, 40, 0)
            with reading(here.engine) as link:
                rows = link.execute(text("SELECT number, cost_nusd FROM usage"))
                assert {tuple(row) for row in rows} == {(1, 1000)}

    asyncio.run(ask())


def test_a_trial_that_harmed_nobody_is_promoted_when_its_time_is_over(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            made = here.do(rollouts.begin, trial(0.5))
            await here.until(lambda: here.serving().rollout == made.id)
            for _ in range(120):
                await here.factor()
            here.do(Connection.execute, text("UPDATE rollout SET until_ns = 0"))
            await here.until(lambda: here.serving().number == 2)
            assert await here.factor() == 2
            assert here.do(rollouts.get, made.id).verdict == "promote"
            assert here.kinds()[-3:] == ["try", "keep", "promote"]
            assert [(each.kind, each.number) for each in here.do(alerts.alerts, "times")] == [("canary", 2)]

    asyncio.run(ask())


def test_a_trial_that_nobody_asked_is_not_promoted_and_a_shadow_never_is(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            made = here.do(rollouts.begin, trial(0.5, lasts_s=0.5))
            await here.until(lambda: here.do(rollouts.get, made.id).verdict)
            assert here.do(rollouts.get, made.id).verdict == "rollback"
            made = here.do(rollouts.begin, trial(shadow=True, lasts_s=0.5))
            await here.until(lambda: here.do(rollouts.get, made.id).verdict)
            assert here.do(rollouts.get, made.id).verdict == "stop"
            assert await here.factor() == 1

    asyncio.run(ask())


def test_a_candidate_that_fails_is_rolled_back_and_its_callers_are_answered_by_the_other(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            made = here.do(rollouts.begin, trial(0.5))
            await here.until(lambda: here.serving().rollout == made.id)
            lane = trial_lane(here)
            lane.session = Failing()
            assert {await here.factor() for _ in range(40)} == {1}
            await here.until(lambda: here.do(rollouts.get, made.id).verdict == "rollback")
            assert "fails more often" in here.do(rollouts.get, made.id).why

    asyncio.run(ask())


def test_a_candidate_whose_answers_turn_out_wrong_is_rolled_back(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            made = here.do(rollouts.begin, trial(0.5))
            await here.until(lambda: here.serving().rollout == made.id)
            replies = [await here.client.post(PATH, json=asked()) for _ in range(500)]
            # the last column is the largest, so 3 is what both say; of the candidate's answers a fifth was wrong
            right = [factor(reply) == 1 or n % 5 for n, reply in enumerate(replies)]
            told = [
                Label(reply.headers["x-request-id"], 3.0 if fine else 0.0, row)
                for reply, fine in zip(replies, right, strict=True)
                for row in range(len(ROWS))
            ]
            await asyncio.sleep(1.5)
            assert not here.do(rollouts.get, made.id).verdict
            assert here.do(labels.add, told) == 1000
            await here.until(lambda: here.do(rollouts.get, made.id).verdict == "rollback")
            assert "quality is worse by" in here.do(rollouts.get, made.id).why

    asyncio.run(ask())


class Failing:
    def predict(self, x):
        raise FloatingPointError


def trial_lane(here):
    return here.client._transport.app.infer.handle.__self__.shelf.trials["times"].served.lane


def test_a_candidate_that_does_not_answer_its_probes_ends_its_trial(file, tmp_path):
    async def ask():
        async with server(file, tmp_path) as here:
            with here.engine.begin() as link:
                added(link, tmp_path / "artifacts", 4, honest=False)
                made = rollouts.begin(link, trial(0.5, number=4))
            await here.until(lambda: here.do(rollouts.get, made.id).verdict == "rollback")
            assert "answers its probes differently" in here.do(rollouts.get, made.id).why
            assert {await here.factor() for _ in range(10)} == {1}

    asyncio.run(ask())


def test_answers_agree_by_class_or_by_value():
    a = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert agreeing(a, np.array([[0.4, 0.6], [0.4, 0.6]])) == 1
    assert agreeing(np.array([1.0, 2.0]), np.array([1.001, 2.2])) == 1
    assert agreeing(a, a[:, :1]) == 0
    assert agreeing(ROWS, ROWS) == len(ROWS)


def test_a_lot_is_drawn_as_often_as_the_share_says_and_independently_of_other_trials():
    one, other = (Rollout("m", "production", 2, 50_000, False, 0, "ann", id=n) for n in (1, 2))
    hits = [drawn(one, str(n)) for n in range(20_000)]
    assert 850 < sum(hits) < 1150
    both = sum(a and drawn(other, str(n)) for n, a in enumerate(hits))
    assert both < 100
