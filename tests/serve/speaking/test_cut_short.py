"""A process is killed, or told to stop, while texts are streamed: no half text seems whole, and the rows are right."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass, field

import httpx
import psutil
from multiples import until
from speaking_parts import artifact, likeliest, process, rows, slowed, speaking
from sqlalchemy import text

from pennyweight.store.team import workers
from pennyweight.store.team.opened import opened, reading

MOST = 60
BODY = {"model": "gpt", "prompt": "abc", "max_tokens": MOST, "temperature": 0, "stream": True}
CALLERS = 6


@dataclass
class Heard:
    """What one caller was told."""

    id: str = ""
    said: str = ""
    reason: str | None = None
    done: bool = False
    error: str = ""
    broken: bool = False

    def read(self, line):
        if line == "data: [DONE]":
            self.done = True
        elif line.startswith("data: "):
            facts = json.loads(line.removeprefix("data: "))
            if "error" in facts:
                self.error = facts["error"]["message"]
            else:
                self.id = facts["id"].partition("-")[2]
                self.said += facts["choices"][0]["text"]
                self.reason = facts["choices"][0]["finish_reason"] or self.reason


@dataclass
class Callers:
    """Some who ask for one stream after the other until told to stop."""

    here: object
    heard: list = field(default_factory=list)
    ending: bool = False
    kills: int = 0

    async def one(self, client):
        while not self.ending:
            now = Heard()
            try:
                async with client.stream("POST", "/v1/completions", json=BODY) as reply:
                    if reply.status_code != 200:
                        continue
                    self.heard.append(now)
                    async for line in reply.aiter_lines():
                        now.read(line)
            except httpx.TransportError:
                now.broken = True
                await asyncio.sleep(0.02)

    async def all(self, act):
        headers = {"authorization": f"Bearer {self.here.key}"}
        async with httpx.AsyncClient(base_url=self.here.address, headers=headers, timeout=60) as client:
            asking = [asyncio.create_task(self.one(client)) for _ in range(CALLERS)]
            await act(self)
            self.ending = True
            await asyncio.gather(*asking)
        return self.heard


def pids(store):
    with opened(store) as engine, reading(engine) as link:
        return [each.pid for each in workers.live(link)]


def money(store):
    """What the budget's window says was spent."""
    with opened(store) as engine, reading(engine) as link:
        return link.execute(text("SELECT sum(spent_nusd) FROM window")).scalar()


async def soon(what):
    for _ in range(3000):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError


def callers_of(pid):
    """How many connections a process holds; the kernel may give all of them to one of two."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in psutil.Process(pid).net_connections("tcp"))


async def cut_off(callers):
    """Kill the process that most are connected to, and its successors, until one who listens is cut off.

    A process that is killed between two texts breaks nothing: its callers connect anew and are told the next one.
    """
    for _ in range(20):
        await soon(lambda: any(each.said and not each.done for each in callers.heard))
        alive = [pid for pid in pids(callers.here.store) if psutil.pid_exists(pid)]
        os.kill(max(alive, key=callers_of), signal.SIGKILL)
        callers.kills += 1
        for _ in range(200):
            if any(each.broken and each.said for each in callers.heard):
                return
            await asyncio.sleep(0.01)
    raise AssertionError


def slow():
    """A model that reads all of a text again for each of its tokens, and is not small."""
    return artifact(together=False, layers=3, width=96)


def whole(heard, kept):
    """Those that were told to the end; their rows must say so, and the others must not seem whole."""
    full = [each for each in heard if each.done]
    assert all((each.reason, len(each.said), kept[each.id][:3]) == ("length", MOST, (3, MOST, 200)) for each in full)
    assert len({each.said for each in full}) == 1
    for each in heard:
        assert full[0].said.startswith(each.said)
        assert each.done or each.reason is None
    return full


def test_who_streams_from_a_process_that_is_killed_is_cut_off_and_the_others_go_on(tmp_path):
    async def act(callers):
        await soon(lambda: sum(each.done for each in callers.heard) > CALLERS)
        await cut_off(callers)
        count = len(callers.heard)
        await soon(lambda: sum(each.done for each in callers.heard[count:]) > CALLERS)

    with process(tmp_path, "--workers", "2", made=slow(), limit_nusd=10**12) as here:
        until(lambda: len(pids(here.store)) == 2)
        callers = Callers(here)
        heard = asyncio.run(callers.all(act))
        kept = rows(here.store)
        full = whole(heard, kept)
        cut = [each for each in heard if not each.done]
        assert 0 < len(cut) <= CALLERS * callers.kills
        assert all(each.broken and not each.error for each in cut)
        assert any(each.said for each in cut)
        # one that was cut off has a row only if that was written before the end of the text could be told
        lost = kept.keys() - {each.id for each in full}
        assert len(lost) <= len(cut)
        assert all(kept[id_][:3] == (3, MOST, 200) for id_ in lost)
        assert money(here.store) == sum(each[3] for each in kept.values())


def test_ctrl_c_lets_every_stream_that_was_begun_end(tmp_path):
    async def act(callers):
        await soon(lambda: len(callers.heard) > CALLERS)
        callers.ending = True
        callers.here.process.send_signal(signal.SIGINT)

    with process(tmp_path, "--workers", "2", made=slow(), limit_nusd=10**12) as here:
        heard = asyncio.run(Callers(here).all(act))
        here.process.wait(30)
        kept = rows(here.store)
        full = whole(heard, kept)
        assert len(full) == len(heard) == len(kept)
        assert kept.keys() == {each.id for each in full}
        with opened(here.store) as engine, reading(engine) as link:
            assert link.execute(text("SELECT count(*) FROM lease")).scalar() == 0


def test_a_stream_that_takes_longer_than_a_server_waits_is_cut_off_and_its_row_says_what_was_made(tmp_path):
    async def act(callers):
        await soon(lambda: len(callers.heard) == CALLERS and all(len(each.said) > 2 for each in callers.heard))
        callers.ending = True
        callers.here.server.should_exit = True

    with speaking(tmp_path / "team.db", tmp_path, limit_nusd=10**12) as here:
        slowed(here, 0.15)  # nine seconds each, and the server waits for two
        heard = asyncio.run(Callers(here).all(act))
    kept = rows(here.store)
    assert len(heard) == len(kept) == CALLERS
    said = likeliest("abc", MOST)
    for each in heard:
        fed, made, status, cost = kept[each.id]
        assert not each.done
        assert each.reason is None
        assert said.startswith(each.said)
        assert (fed, status, cost) == (3, 499, 3 * 10 + made * 100)
        assert len(each.said) <= made < MOST
    assert money(here.store) == sum(each[3] for each in kept.values())
