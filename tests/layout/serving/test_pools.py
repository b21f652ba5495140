"""Prompts read in one pool and answered in another: what waits for what, and how it compares with one pool."""

from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerator
from pennyweight.cost.transformer import kv_byte
from pennyweight.errors import BadInputError
from pennyweight.layout.deployments.ahead import PLAIN
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.lines import lines, reads
from pennyweight.layout.deployments.pooled import OFF
from pennyweight.layout.rows import Rows
from pennyweight.layout.serving.fleet import Pool, Serving, fleet_of
from pennyweight.layout.serving.iterating import simulate
from pennyweight.layout.serving.passes import heads_split
from pennyweight.layout.serving.pools import Readers, Wire, answer, send
from pennyweight.layout.serving.queueing import Arrivals, Server, forecast
from pennyweight.layout.tables.serving import TABLE
from pennyweight.layout.tables.serving_models import dims_of

WRITERS = Server(step_s=0.012, request_s=0.0002, prompt_token_s=0.0, most=256)
READERS = Readers(token_s=6e-5, fixed_s=0.02, instances=2)
WIRE = Wire(token_s=3e-6, request_s=0.01, lanes=2)


def uneven(seed, rate=8.0, count=600):
    draw = np.random.default_rng(seed)
    at_s = np.cumsum(draw.exponential(size=count)) / rate
    return Arrivals(at_s, np.ceil(draw.lognormal(7, 0.8, count)), np.ceil(draw.lognormal(4.5, 0.6, count)))


def test_a_request_alone_is_read_moved_and_answered():
    arrivals = Arrivals(np.array([5.0]), np.array([1000.0]), np.array([11.0]))
    sent = send(arrivals, READERS, WIRE)
    done = answer(arrivals, sent, WRITERS, simulate)
    assert sent.wait_s[0] == 0
    assert sent.move_s[0] == pytest.approx(0.01 + 1000 * 3e-6)
    assert done.ttft_s[0] == pytest.approx(0.02 + 1000 * 6e-5 + 0.013 + 0.0122)
    assert done.tpot_s[0] == pytest.approx(0.0122)


@given(st.integers(0, 100), st.integers(1, 6), st.integers(1, 6))
def test_more_instances_that_read_never_make_any_prompt_later(seed, few, more):
    arrivals = uneven(seed)
    late, early = (send(arrivals, replace(READERS, instances=each), Wire()).at_s for each in (few, few + more))
    assert (early <= late + 1e-9).all()


@given(st.integers(0, 30), st.integers(1, 4))
def test_more_instances_that_read_never_raise_the_first_token(seed, few):
    arrivals = Arrivals.poisson(20, 60, (2000, 150), seed)
    late, early = (
        answer(arrivals, send(arrivals, replace(READERS, instances=each), WIRE), WRITERS).ttft_s
        for each in (few, few + 1)
    )
    assert np.percentile(early, 90) <= np.percentile(late, 90) * 1.02
    assert early.mean() <= late.mean() * 1.01


def test_without_a_network_and_with_readers_to_spare_it_is_a_server_that_has_no_prompts():
    arrivals = uneven(3)
    sent = send(arrivals, Readers(0.0, 0.0, 1), Wire())
    one, other = answer(arrivals, sent, WRITERS), forecast(replace(arrivals, prompt=0 * arrivals.prompt), WRITERS)
    np.testing.assert_array_equal(one.ttft_s, other.ttft_s)
    np.testing.assert_array_equal(one.tpot_s, other.tpot_s)


def test_without_a_network_a_prompt_comes_when_it_is_read():
    arrivals = uneven(4)
    sent = send(arrivals, replace(READERS, fixed_s=0.0), Wire())
    np.testing.assert_allclose(sent.at_s, arrivals.at_s + sent.wait_s + arrivals.prompt * READERS.token_s)
    assert sent.moving == 0
    assert (sent.move_s == 0).all()


def test_a_slower_network_makes_the_first_token_later_and_is_busier():
    arrivals = uneven(5)
    fast, slow = (send(arrivals, READERS, replace(WIRE, token_s=each)) for each in (1e-6, 2e-5))
    assert (slow.at_s > fast.at_s).all()
    assert slow.moving == pytest.approx(20 * fast.moving)
    assert answer(arrivals, slow, WRITERS).ttft_s.mean() > answer(arrivals, fast, WRITERS).ttft_s.mean()


@pytest.mark.parametrize("prompt", [4000, 16000])
def test_at_equal_devices_and_long_prompts_two_pools_lower_the_tail_of_seconds_per_token(prompt):
    draw = np.random.default_rng(1)
    crowd = np.sort(np.concatenate([draw.uniform(0, 300, 300), draw.uniform(100, 130, 60)]))
    arrivals = Arrivals(crowd * prompt / 4000, np.full(360, float(prompt)), np.full(360, 200.0))
    together = replace(WRITERS, prompt_token_s=READERS.token_s, replicas=2)
    for follow in (forecast, simulate):
        one = follow(arrivals, together)
        two = answer(arrivals, send(arrivals, replace(READERS, instances=1), WIRE), WRITERS, follow)
        assert two.percentiles()["tpot_s_p99"] < 0.8 * one.percentiles()["tpot_s_p99"]


@pytest.mark.parametrize("rate", [2.0, 6.0, 10.0])
def test_answers_agree_with_every_iteration_run_one_by_one(rate):
    arrivals = uneven(7, rate)
    sent = send(arrivals, READERS, WIRE)
    near, true = (answer(arrivals, sent, WRITERS, follow).percentiles() for follow in (forecast, simulate))
    for name in ("ttft_s_p50", "ttft_s_p90", "tpot_s_p50"):
        assert near[name] == pytest.approx(true[name], rel=0.1)


@pytest.mark.parametrize("instances", [1, 2, 5])
def test_equal_prompts_wait_as_those_that_differ_by_next_to_nothing(instances):
    arrivals = Arrivals.poisson(30, 60, (2000, 50), seed=2)
    readers = replace(READERS, instances=instances)
    even = send(arrivals, readers, WIRE)
    last = arrivals.prompt + np.r_[np.zeros(len(arrivals.at_s) - 1), 1e-6]
    odd = send(replace(arrivals, prompt=last), readers, WIRE)
    np.testing.assert_allclose(even.wait_s, odd.wait_s, atol=1e-8)
    np.testing.assert_allclose(even.at_s, odd.at_s, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Readers(-1.0), "instances of one"),
        (lambda: Readers(1.0, 0.0, 0), "instances of one"),
        (lambda: Wire(lanes=0), "lanes of one"),
        (lambda: Wire(token_s=-1.0), "no negative seconds"),
    ],
)
def test_pools_that_cannot_be_are_refused_with_the_fix(make, said):
    with pytest.raises(BadInputError, match=said):
        make()


def measured_cases(rows):
    """Measured deployments of two pools that are complete, each once, and their seconds per token and to the first."""
    rows = rows.take(np.char.lower(rows.text("mode")) == "disagg")
    known, measured = TABLE.complete(rows)
    everything = TABLE.measured(rows)
    keys = list(zip(everything["tpot_s"].tolist(), everything["ttft_s"].tolist(), strict=True))
    paths = [str(rows.text("model_path")[keys.index(key)]) for key in zip(*measured.values(), strict=True)]
    fleet, pools = known.fleet, []
    for side in (fleet, fleet.prefilling()):
        degrees = zip(side.tp, side.pp, side.adp, side.ep, side.workers, strict=True)
        pools.append([Pool(*map(int, each)) for each in degrees])
    facts = zip(paths, fleet.system, fleet.engine, fleet.gemm, *pools, strict=True)
    loads = zip(fleet.concurrency, fleet.prompt, fleet.output, strict=True)
    cases = [
        Serving(dims_of({"model_path": path})[0], accelerator(name), engine, gemm, gemm, "fp8", decode, prefill, *load)
        for (path, name, engine, gemm, decode, prefill), load in zip(facts, loads, strict=True)
    ]
    return cases, measured


def composed_of(cases, lessons):
    """The pools that a plan composes of what it knows of each by itself."""
    first = [replace(case.prefill, workers=1) for case in cases]
    told = reads([replace(case, decode=pool, prefill=pool) for case, pool in zip(cases, first, strict=True)], lessons)
    users = [max(case.concurrency / case.decode.workers, case.decode.attention_dp) for case in cases]
    single = [
        replace(case, decode=replace(case.decode, workers=1), prefill=None, concurrency=count)
        for case, count in zip(cases, users, strict=True)
    ]
    timed, fleet = lines(single, lessons, PLAIN), fleet_of(cases)
    split = np.minimum(heads_split(fleet), heads_split(fleet.prefilling()))
    move_s = (
        kv_byte(fleet.model, fleet.prompt, fleet.kv_byte) / fleet.prompt * told["moving"] / split / fleet.net_byte_s
    )
    for at, case in enumerate(cases):
        lanes = case.prefill.workers * case.prefill.attention_dp
        step_s, request_s = (float(timed[name][at] * told["token_ratio"][at]) for name in ("step_s", "request_s"))
        yield (
            Readers(float(told["token_s"][at]), float(told["fixed_s"][at]), case.prefill.workers),
            Wire(float(move_s[at]), float(told["request_s"][at]), lanes),
            Server(step_s, request_s, 0.0, 10**6, replicas=case.decode.workers),
        )


def settled(case, pools, requests=256, rounds=12):
    """Seconds per token and to the first one, and the share readers are busy, with as many users as were measured.

    The rate is that at which so many requests are there (Little's law); as in those benchmarks, all users begin at
    once and ask ten times, so a tenth of the prompts wait for half of the others.
    """
    readers, wire, writers = pools
    base, (low, high) = np.cumsum(np.random.default_rng(0).exponential(size=requests)), (1e-4, 1e4)
    for _ in range(rounds):
        rate = (low * high) ** 0.5
        arrivals = Arrivals(base / rate, np.full(requests, case.prompt), np.full(requests, case.output))
        done = answer(arrivals, send(arrivals, readers, wire), writers)
        there = rate * float((done.ttft_s + case.output * done.tpot_s).mean())
        low, high = (low, rate) if there > case.concurrency else (rate, high)
    prompt_s = case.prompt * readers.token_s / case.prefill.workers
    return done.tpot_s.mean(), done.ttft_s.mean() + 0.05 * case.concurrency * prompt_s, rate * prompt_s


def test_composed_pools_are_as_far_off_measured_ones_as_their_intervals_say(samples):
    table = Rows.read(samples / "serving" / "serving_silicon_with_aic0120_predictions.csv")
    cases, measured = measured_cases(table)
    lessons = Lessons.of()
    told = np.array([*starmap(settled, zip(cases, composed_of(cases, lessons), strict=True))]).T
    free, forecasts = told[2] < 0.8, lessons.forecasts(cases)
    assert free.sum() > 100
    for what, value, most in (("tpot", told[0], 0.12), ("ttft", told[1], 0.5)):
        off = np.log(measured[f"{what}_s"] / value)
        assert np.median(np.abs(np.expm1(-off))[free]) < most
        known = forecasts[f"{what}_s"]
        inside = np.abs(off) <= np.hypot(np.log(known.high / known.value), OFF[what])
        assert 0.87 <= inside[free].mean() <= 0.99
