"""A version of a language model on trial, in a real process: a share of the texts, or copies of all, and a verdict."""

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from multiples import ME, until
from speaking_parts import added, artifact, likeliest, process
from sqlalchemy import select

from pennyweight.engine.answers import open_session
from pennyweight.serve.answering.shelf import Served, Trial
from pennyweight.serve.speaking.opening import open_choir
from pennyweight.serve.speaking.trying import chosen
from pennyweight.serve.versions.switching import Switch, attempt
from pennyweight.store.team import registry, rollouts
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Version
from pennyweight.store.team.rollouts import MILLION, Rollout
from pennyweight.store.team.tables import usage
from pennyweight.store.team.tallies import tallies
from pennyweight.store.team.tenants import Caller, Tenant

CALLERS = 8
HOUR_S = 3600.0


def tried(here, share, *, shadow=False, lasts_s=HOUR_S):
    """Let version 2 be tried, and return when the server takes part."""
    until_ns = time.time_ns() + int(lasts_s * 1e9)
    trial = Rollout("gpt", "production", 2, round(share * MILLION), shadow, until_ns, "ann")
    with opened(here.store) as engine:
        return attempt(engine, Switch("gpt@2", "production", ME, uncertified=True), trial).trial


def talked(here, count, more=None, over=lambda: False):
    """So many texts or fewer, asked by a few callers at once: [(request, version, text)]; none is refused."""
    body = {"model": "gpt", "prompt": "abc", "max_tokens": 3, "temperature": 0} | (more or {})
    left, told = [count], []

    async def caller(client):
        while left[0] > 0 and not over():
            left[0] -= 1
            reply = await client.post("/v1/completions", json=body)
            assert reply.status_code == 200, reply.text
            facts = reply.json()
            version = reply.headers["x-model-version"]
            assert facts["system_fingerprint"] == f"v{version}"
            told.append((reply.headers["x-request-id"], int(version), facts["choices"][0]["text"]))

    async def everybody():
        headers = {"authorization": f"Bearer {here.key}"}
        async with httpx.AsyncClient(base_url=here.address, headers=headers, timeout=60) as client:
            await asyncio.gather(*(caller(client) for _ in range(CALLERS)))

    asyncio.run(everybody())
    return told


def numbers(here):
    """Which version every recorded request was answered by."""
    with opened(here.store) as engine, reading(engine) as link:
        return {row.request: row.number for row in link.execute(select(usage.c.request, usage.c.number))}


def sums(here, trial):
    with opened(here.store) as engine, reading(engine) as link:
        return tallies(link, trial)


def now(here, trial):
    with opened(here.store) as engine, reading(engine) as link:
        return rollouts.get(link, trial.id), registry.get(link, "gpt").number


def test_a_share_of_the_texts_goes_to_the_new_version_and_every_reply_and_row_names_its_own(tmp_path):
    with process(tmp_path) as here:
        added(here.store, tmp_path, artifact(seed=4))
        trial = tried(here, 0.3)
        told = talked(here, 240)
        says = {1: likeliest("abc", 3), 2: likeliest("abc", 3, seed=4)}
        assert says[1] != says[2]
        assert all(text == says[version] for _, version, text in told)
        assert numbers(here) == {id_: version for id_, version, _ in told}
        counts = Counter(version for _, version, _ in told)
        assert 0.15 < counts[2] / len(told) < 0.45
        seen = until(lambda: (found := sums(here, trial)) and sum(x.requests for x in found.values()) == 240 and found)
        assert {n: each.requests for n, each in seen.items()} == counts
        assert all(0 < each.pace_us / each.paced < each.latency_us / each.requests for each in seen.values())
        assert all(each.cost_nusd == (3 * 10 + 3 * 100) * counts[n] for n, each in seen.items())
        assert all(each.errors == each.compared == 0 for each in seen.values())


def test_a_share_of_the_keys_is_always_answered_by_the_same_version():
    callers = [Caller(f"key{n}", Tenant("acme", "group"), "caller") for n in range(400)]
    version = Version("gpt", 2, "", "")
    with ThreadPoolExecutor(1) as pool:
        made = artifact()
        speaks = Served(version, None, None, choir=open_choir("gpt@2", made, open_session(made), pool))
    trial = Trial(Rollout("gpt", "production", 2, MILLION // 4, False, 0, "ann", sticky=True, id=3), speaks)
    first = [chosen(trial, each) for each in callers]
    assert first == [chosen(trial, each) for each in callers]
    assert 60 < sum(first) < 140
    mute = Trial(trial.rollout, Served(version, None, None))
    assert not any(chosen(mute, each) for each in callers)


def test_one_that_is_as_good_takes_over_when_its_time_is_over(tmp_path):
    with process(tmp_path) as here:
        added(here.store, tmp_path, artifact(seed=4))
        trial = tried(here, 0.5, lasts_s=4)
        said = talked(here, 100_000, over=lambda: time.time_ns() > trial.until_ns)
        assert sum(version == 2 for _, version, _ in said) > 30
        assert until(lambda: now(here, trial)[0].verdict) == "promote"
        assert now(here, trial)[1] == 2
        until(lambda: {version for _, version, _ in talked(here, CALLERS)} == {2})


@pytest.mark.parametrize("how", [{"mad": True}, {"alphabet": "\n abcdefgh.X"}], ids=["fails", "cannot read it"])
@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_is_rolled_back_and_nobody_sees_anything_of_it(tmp_path, how, stream):
    with process(tmp_path) as here:
        added(here.store, tmp_path, artifact(seed=4, **how))
        trial = tried(here, 0.5)
        if stream:
            heard = streamed(here, 40)
            assert all("[DONE]" in each and '"error"' not in each and '"v1"' in each for each in heard)
        else:
            told = talked(here, 40, {"prompt": "hé"})
            assert {(version, text) for _, version, text in told} == {(1, likeliest("hé", 3))}
        ended = until(lambda: (found := now(here, trial)[0]).verdict and found)
        assert (ended.verdict, ended.why) == ("rollback", "it fails more often")
        assert now(here, trial)[1] == 1
        assert set(numbers(here).values()) == {1}
        assert len(numbers(here)) == 40


def streamed(here, count):
    body = {"model": "gpt", "prompt": "hé", "max_tokens": 3, "temperature": 0, "stream": True}
    headers = {"authorization": f"Bearer {here.key}"}
    with httpx.Client(base_url=here.address, headers=headers, timeout=60) as client:
        return [client.post("/v1/completions", json=body).text for _ in range(count)]


def test_one_whose_tokens_take_longer_is_rolled_back(tmp_path):
    with process(tmp_path) as here:
        added(here.store, tmp_path, artifact(together=False, layers=3, width=96))  # which reads all of it for each
        trial = tried(here, 0.5)
        for _ in range(20):
            told = talked(here, 200, {"max_tokens": 2})
            assert {text for _, version, text in told if version == 1} == {likeliest("abc", 2)}
            ended, stands = now(here, trial)
            if ended.verdict:
                break
        seen = sums(here, trial)
        assert (ended.verdict, stands) == ("rollback", 1), seen
        assert "time per token" in ended.why


@pytest.mark.parametrize(("seed", "temperature"), [(4, 0.0), (3, 0.0), (3, 1.3)], ids=["other", "same", "same, drawn"])
def test_a_shadow_continues_every_text_is_seen_by_nobody_and_is_compared(tmp_path, seed, temperature):
    with process(tmp_path) as here:
        # the same weights in another form, or others
        added(here.store, tmp_path, artifact(together=seed != 3, seed=seed))
        trial = tried(here, 0.0, shadow=True)
        told = talked(here, 60, {"max_tokens": 8, "temperature": temperature})
        assert {version for _, version, _ in told} == {1}
        if not temperature:
            assert {text for _, _, text in told} == {likeliest("abc", 8)}
        assert numbers(here) == {id_: 1 for id_, _, _ in told}
        seen = until(lambda: (found := sums(here, trial)) and [found[n].requests for n in found] == [60, 60] and found)
        shadow = seen[2]
        assert (seen[1].requests, seen[1].compared, shadow.errors) == (60, 0, 0)
        assert shadow.cost_nusd == 60 * (3 * 10 + 8 * 100) == seen[1].cost_nusd
        assert shadow.compute_us > 0
        if seed == 3:
            assert shadow.agreed == shadow.compared == 60 * 8
        else:
            place = next(at for at in range(8) if likeliest("abc", 8)[at] != likeliest("abc", 8, seed=4)[at])
            assert (shadow.compared, shadow.agreed) == (60 * (place + 1), 60 * place)


def test_a_shadow_that_cannot_read_what_the_other_reads_has_failed_at_it(tmp_path):
    with process(tmp_path) as here:
        added(here.store, tmp_path, artifact(seed=4, alphabet="\n abcdefgh.X"))
        trial = tried(here, 0.0, shadow=True)
        assert len(talked(here, 12, {"prompt": "hé"})) == 12
        seen = until(lambda: (found := sums(here, trial).get(2)) and found.requests == 12 and found)
        assert (seen.errors, seen.compared, seen.cost_nusd) == (12, 0, 0)
