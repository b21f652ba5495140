"""Real processes, real requests: switches drop nothing, what dies comes back, the ledger is what was acknowledged."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections import Counter

import httpx
import pytest
from multiples import ME, added, asked, factor, filled, until
from processes import call, start
from sqlalchemy import select, text

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.serve.versions.switching import Switch, attempt, back, switch
from pennyweight.store.team import registry, workers
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.rollouts import Rollout
from pennyweight.store.team.tables import usage
from pennyweight.store.team.workers import Serving, Worker

PATH = "/v2/models/times/infer"


@pytest.fixture
def place(tmp_path):
    filled(tmp_path / "team.db", tmp_path, 3)
    return tmp_path


class Running:
    """A server as a person starts it."""

    def __init__(self, place, *words):
        self.store = str(place / "team.db")
        self.process = start(place, "serve", "times", "--port", "0", "--store", self.store, *words)
        said = self.process.stdout.readline()
        found = re.fullmatch(r"times@\d+ at (http://127\.0\.0\.1:\d+)(?: \(\d+ processes\))?\n", said)
        assert found, (said, *self.process.communicate(timeout=120))
        self.address = found[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=120)
        assert (self.process.returncode, err) == (0, ""), out


class Load(threading.Thread):
    """Callers that ask one request after the other until told to stop, and keep what they were told."""

    def __init__(self, address, callers=6):
        super().__init__()
        self.address, self.callers = address, callers
        self.replies, self.broken, self.ending = [], [], False

    def run(self):
        asyncio.run(self.all())

    async def all(self):
        await asyncio.gather(*(self.one() for _ in range(self.callers)))

    async def one(self):
        async with httpx.AsyncClient(base_url=self.address, timeout=120) as client:
            while not self.ending:
                try:
                    reply = await client.post(PATH, json=asked())
                except httpx.TransportError as error:
                    self.broken.append(error)
                    await asyncio.sleep(0.01)
                else:
                    self.replies.append((time.monotonic(), reply))

    def __enter__(self):
        self.start()
        until(lambda: len(self.replies) > 2 * self.callers)
        return self

    def __exit__(self, *_):
        self.ending = True
        self.join()


def to(version, **more):
    return Switch(version, "production", ME, **more)


def test_thirty_switches_under_load_fail_no_request_and_answer_none_by_a_wrong_version(place):
    with Running(place) as server, opened(server.store) as engine:
        with Load(server.address) as load:
            said = []
            for n in range(30):
                reached = switch(engine, to(f"times@{2 - n % 2}"))
                said.append((time.monotonic(), 2 - n % 2))
                assert reached.processes == 1
                assert reached.took_s < 10
        assert load.broken == []
        factors = [factor(reply) for _, reply in load.replies]
        assert set(factors) == {1, 2}
        # nobody who asked after a switch was done is answered by the version before
        last_s, last = said[-1]
        settled = [found for (at_s, _), found in zip(load.replies, factors, strict=True) if at_s > last_s + 1]
        assert set(settled) <= {last}
        with reading(engine) as link:
            rows = Counter(link.execute(select(usage.c.number)).scalars())
        assert rows == Counter(factors)


def test_a_version_that_fails_its_probes_is_never_served_and_the_alias_goes_back(place):
    with Running(place) as server, opened(server.store) as engine:
        with engine.begin() as link:
            added(link, place / "artifacts", 4, honest=False)
        with Load(server.address) as load, pytest.raises(CorruptError, match=r"differently.*is version 1 again"):
            switch(engine, to("times@4"))
        assert {factor(reply) for _, reply in load.replies} == {1}
        assert load.broken == []
        with reading(engine) as link:
            kinds = [each.kind for each in registry.history(link, "times")]
            assert registry.get(link, "times").number == 1
        assert kinds[-3:] == ["promote", "refuse", "rollback"]


def test_two_processes_switch_together_and_one_that_is_killed_comes_back(place):
    with Running(place, "--workers", "2") as server, opened(server.store) as engine:
        before = until(lambda: two(engine))
        with Load(server.address, callers=8) as load:
            assert switch(engine, to("times@2")).processes == 2
            victim = before[0]
            os.kill(victim, signal.SIGKILL)
            known = set(before)
            after = until(lambda: [pid for pid in two(engine) if pid not in known] and two(engine))
            assert len(after) == 2
            assert victim not in after
            count = len(load.replies)
            until(lambda: len(load.replies) > count + 50)
            code, out, err = call(place, "rollback", "times", "--store", server.store, "--json")
            assert code == 0, err
            assert json.loads(out)["processes"] == 2
        assert {factor(reply) for _, reply in load.replies} == {1, 2}
        # a request whose connection broke may be on the ledger or not; one that was answered is, once, and nothing else
        acknowledged = {reply.headers["x-request-id"] for _, reply in load.replies}
        assert len(acknowledged) == len(load.replies)
        with reading(engine) as link:
            rows = set(link.execute(select(usage.c.request)).scalars())
        assert acknowledged <= rows
        assert len(rows - acknowledged) <= len(load.broken) <= 8
        assert "signal 9; another takes its place" in server.process.stdout.readline().replace(")", "")


def two(engine):
    """The processes that serve now, if they are two and live."""
    with reading(engine) as link:
        found = sorted(each.pid for each in workers.live(link) if alive(each.pid))
    return found if len(found) == 2 else []


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_who_was_begun_with_is_answered_before_a_server_ends_and_nothing_stays_behind(place):
    server = Running(place, "--workers", "2")
    with Load(server.address) as load:
        server.process.send_signal(signal.SIGTERM)
        _, err = server.process.communicate(timeout=120)
        load.ending = True
    assert (server.process.returncode, err) == (0, "")
    assert {factor(reply) for _, reply in load.replies} == {1}
    with opened(server.store) as engine, reading(engine) as link:
        rows = set(link.execute(select(usage.c.request)).scalars())
        assert workers.live(link) == ()
        assert link.execute(text("SELECT count(*) FROM lease")).scalar() == 0
    assert rows == {reply.headers["x-request-id"] for _, reply in load.replies}


def test_processes_whose_parent_is_killed_do_not_stay_behind(place):
    server = Running(place, "--workers", "2")
    with opened(server.store) as engine:
        pids = until(lambda: two(engine))
        server.process.kill()
        server.process.communicate(timeout=120)
        until(lambda: not any(alive(pid) for pid in pids))
        with reading(engine) as link:
            assert workers.live(link) == ()


def test_processes_that_cannot_begin_are_not_started_again_and_the_reason_is_said(place):
    with opened(str(place / "team.db")) as engine, engine.begin() as link:
        added(link, place / "artifacts", 4, honest=False)
    words = ("serve", "times@4", "--port", "0", "--workers", "2", "--store", place / "team.db")
    code, out, err = call(place, *words)
    assert code == 5
    assert not out
    assert "times@4 answers its probes differently" in err
    assert "Traceback" not in err


def test_without_a_server_a_switch_says_so(place):
    store = place / "team.db"
    code, out, err = call(place, "switch", "times@2", "--store", store)
    assert code == 0, err
    assert "times@production is version 2, before it was version 1. No server is running; whoever starts one" in out
    code, out, _ = call(place, "rollback", "times", "--store", store, "--json")
    facts = json.loads(out)
    assert (facts["processes"], facts["event"]["number"], facts["trial"]) == (0, 1, None)
    code, out, _ = call(place, "servers", "--store", store)
    assert out == "Nothing serves: pennyweight serve digits\n"
    code, out, _ = call(place, "rollouts", "--store", store)
    assert "Nothing was tried yet" in out


def test_a_trial_is_begun_seen_and_ended_by_commands(place):
    store = place / "team.db"
    code, out, err = call(place, "switch", "times@2", "--canary", "5%", "--for", "1h", "--shadow", "--store", store)
    assert code == 0, err
    assert out.startswith("times@2 answers 5.00% of the requests and is asked copies for 1h. No server is running")
    code, out, _ = call(place, "rollouts", "--store", store)
    assert "goes on" in out
    code, out, err = call(place, "switch", "times@3", "--store", store)
    assert code == 2
    assert "times@2 is on trial. To fix: end that first: pennyweight rollback times" in err
    code, out, _ = call(place, "rollback", "times", "--why", "it is slow", "--store", store)
    assert "times@2 is on trial no more; times@production stays version 1" in out
    code, out, _ = call(place, "rollouts", "times", "--store", store, "--json")
    (told,) = json.loads(out)
    assert (told["verdict"], told["why"], told["share_ppm"]) == ("rollback", "it is slow", 50_000)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("times@9",), "no version of times named '9'"),
        (("none@1",), "no model named 'none'"),
        (("times@2", "--canary", "500%"), "cannot be"),
        (("times@2", "--canary", "5%", "--for", "soon"), "is not a duration"),
        (("times@2", "--sticky"), "no share to stick to"),
        (("times@1", "--canary", "5%"), "for that version already"),
    ],
)
def test_a_switch_that_cannot_be_is_said(place, words, said):
    code, _, err = call(place, "switch", *words, "--store", place / "team.db")
    assert code == 2
    assert said in err
    assert "To fix:" in err


def test_a_process_that_does_not_follow_is_said_and_a_trial_may_be_switched_to_at_once(place):
    with opened(str(place / "team.db")) as engine:
        asleep = Worker("host-1-aa", "host", 4711, "", time.time_ns(), (Serving("times", "times", "production", 1),))
        with engine.begin() as link:
            workers.beat(link, asleep)
        with pytest.raises(Exception, match=r"1 of 1 processes have not followed \(4711\)"):
            switch(engine, to("times@2", wait_s=0.2))
        with engine.begin() as link:
            workers.leave(link, asleep.id)
        trial = Rollout("times", "production", 3, 0, True, time.time_ns() + 10**12, "ann")
        made = attempt(engine, to("times@3"), trial).trial
        assert switch(engine, to("times@3")).event.number == 3
        with pytest.raises(BadInputError, match="for that version already"):
            attempt(engine, to("times@3"), trial)
        assert back(engine, to("times")).event.number == 2
        with reading(engine) as link:
            assert [each.kind for each in registry.history(link, "times")][-4:] == [
                "try",
                "keep",
                "promote",
                "rollback",
            ]
        assert made.before == 2
