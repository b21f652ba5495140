from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.plan import MOST_REQUESTS, Demand, plan_serve
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.deployments.search import Search
from pennyweight.layout.memory.fitting import FITS, predict
from pennyweight.layout.memory.remedies import Serving, Wish
from pennyweight.layout.serving.iterating import simulate
from pennyweight.layout.serving.objectives import Limit, Slo
from pennyweight.layout.serving.queueing import forecast
from pennyweight.layout.serving.traces import Trace

USUAL = "ttft=1s,tpot=40ms"


@cache
def planned(name="llama-3-8b", slo=USUAL, rate=20.0, on=("h100", "l40s", "l4"), engines=("vllm",)):
    demand = Demand.at_rate(rate, 800, 100)
    return plan_serve(Wanted(model(name), 800, 100, engines), demand, Slo.read(slo), Market.open(on))


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        (USUAL, "ttft=1s,tpot=12ms"),
        (USUAL, "ttft=150ms,tpot=40ms"),
        ("tpot=20ms", "tpot_p99=20ms"),
        ("tpot=20ms", "tpot=20ms,ttft_p95=300ms"),
    ],
)
def test_a_stricter_objective_never_gets_cheaper(loose, strict):
    assert planned(slo=loose).cheapest.usd_hour <= planned(slo=strict).cheapest.usd_hour


def test_some_stricter_objective_is_dearer():
    assert planned(slo="tpot=40ms").cheapest.usd_hour < planned(slo="tpot=4ms").cheapest.usd_hour


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-30b-a3b"])
def test_twice_the_rate_needs_as_many_replicas_of_each_way_or_more(name):
    choices = Choices.of(Wanted(model(name), 800, 100, ("vllm",)), {"h100": 2})
    slo, market = Slo.read(USUAL), Market.open(["h100"])
    once, twice = (Search(choices, market, Demand.at_rate(rate, 800, 100).arrivals, slo) for rate in (40.0, 80.0))
    compared = 0
    for at in range(0, len(choices), 5):
        few, many = once._fewest(at), twice._fewest(at)
        if few is not None and many is not None:
            assert few.replicas <= many.replicas <= 2 * few.replicas + 1
            compared += 1
    assert compared > 2


def test_one_replica_fewer_misses_the_objective():
    choices = Choices.of(Wanted(model("llama-3-8b"), 800, 100, ("vllm",)), {"l4": 1, "h100": 1})
    demand, slo = Demand.at_rate(60.0, 800, 100), Slo.read(USUAL)
    found = Search(choices, Market.open(["l4", "h100"]), demand.arrivals, slo).front()
    assert max(each.replicas for each in found) > 1
    for each in found:
        assert slo.miss(each.queued)[0] <= 1
        if each.replicas > 1:
            fewer = forecast(demand.arrivals, choices.server(each.at, each.replicas - 1))
            assert slo.miss(fewer)[0] > 1


def test_what_is_planned_keeps_its_objective_when_every_iteration_is_run():
    plan = planned(slo="ttft=500ms,tpot=30ms")
    way, wanted = plan.cheapest, Wanted(plan.model, 800, 100, ("vllm",))
    choices = Choices.of(wanted, Market.open(["h100", "l40s", "l4"]).most())
    server = choices.server(choices.serving.index(way.serving), way.replicas)
    slow = replace(plan.slo, limits=tuple(replace(each, most_s=each.most_s * 1.2) for each in plan.slo.limits))
    assert slow.miss(simulate(plan.demand.arrivals, server))[0] <= 1


def test_the_front_rises_in_dollars_falls_in_seconds_and_keeps_its_promises():
    plan = planned()
    usd, tpot = ([getattr(each, name) for each in plan.front] for name in ("usd_hour", "tpot_s"))
    assert len(usd) > 2
    assert usd == sorted(usd)
    assert tpot == sorted(tpot, reverse=True)
    for way in plan.front:
        assert way.ttft_s[0] <= 1
        assert way.tpot_s[0] <= 0.04
        for low, value, high in ((ends[1], ends[0], ends[2]) for ends in (way.ttft_s, way.tpot_s, way.joule_token)):
            assert 0 < low < value < high
        assert 0.8 < way.held <= 1
        assert way.goodput_s == pytest.approx(20 * way.held)
        assert 0 < way.used <= 1


def test_dollars_are_those_of_whole_machines():
    plan = planned()
    for way in plan.front:
        offer = way.rent.offer
        assert way.rent.machines * (offer.devices // way.devices) >= way.replicas
        paid = way.rent.machines * offer.device_hour_usd(spare=way.rent.spare) * offer.devices
        assert paid <= way.usd_hour <= paid * (1 + 0.5 * way.rent.spare)
        assert way.usd_output == pytest.approx(way.usd_hour / 3600 / 20 / 100 * 1e6)
        assert way.usd_token == pytest.approx(way.usd_output * 100 / 900)


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-30b-a3b", "deepseek-v3"])
def test_every_way_that_is_considered_fits_in_memory(name):
    choices = Choices.of(Wanted(model(name), 800, 100), {"h200": 8, "h100": 8, "l4": 4})
    assert len(choices) > 8
    for case, byte in zip(choices.serving[::7], choices.byte[::7].tolist(), strict=True):
        pool = case.decode
        layout = Layout(tp=pool.tp, dp=pool.attention_dp, ep=pool.expert_parallel, precision=case.gemm)
        use = Serving(-(-int(case.concurrency) // pool.attention_dp), 900, cache_precision=case.kv)
        fit = predict(Wish(case.model, layout, use), case.accelerator)
        assert fit.verdict == FITS
        assert fit.total_byte == pytest.approx(byte)


def test_no_queue_grows_without_end_where_only_the_time_per_token_is_limited():
    for way in planned(slo="tpot=40ms", rate=300.0, on=("l4",)).front:
        assert way.replicas > 5
        assert way.used < 1
        assert way.ttft_s[0] < 60


def test_a_trace_of_bursts_needs_more_than_an_even_one():
    draw = np.random.default_rng(1)
    lengths = np.full(3000, 800.0), np.full(3000, 100.0)
    even = np.sort(draw.uniform(0, 300, 3000))
    crowded = np.sort(np.concatenate([draw.uniform(0, 300, 1000), draw.uniform(100, 130, 2000)]))
    wanted, slo, market = Wanted(model("llama-3-8b"), 800, 100, ("vllm",)), Slo.read(USUAL), Market.open(["l4"])
    usd = [plan_serve(wanted, Demand.of_trace(Trace(at, *lengths)), slo, market) for at in (even, crowded)]
    assert usd[0].cheapest.usd_hour < usd[1].cheapest.usd_hour


def test_a_long_trace_is_drawn_from_at_its_own_rate():
    draw = np.random.default_rng(2)
    trace = Trace(np.sort(draw.uniform(0, 1e4, 50_000)), draw.uniform(0, 900, 50_000), np.full(50_000, 9.0))
    demand = Demand.of_trace(trace)
    assert len(demand.arrivals.at_s) == MOST_REQUESTS
    assert demand.rate_s == pytest.approx(trace.rate_s)
    assert demand.prompt == pytest.approx(450, rel=0.05)


def test_what_nothing_keeps_names_the_nearest_and_a_limit_that_is_kept():
    plan = planned(slo="ttft=1s,tpot=0.5ms")
    assert plan.cheapest is None
    assert "h100" in plan.why
    assert "per token at p90, not 500 µs" in plan.why
    allowed = plan.fix.split()[1]
    assert planned(slo=allowed).cheapest is not None


def test_a_model_that_fits_nowhere_is_refused_with_what_comes_nearest():
    with pytest.raises(BadInputError, match=r"fits on no machine .* 8 × l4 in fp8"):
        Choices.of(Wanted(model("deepseek-v3"), 800, 100), {"l4": 8})


def test_requests_of_a_trace_that_the_model_cannot_read_are_said():
    prompt = np.where(np.arange(400) % 4, 100.0, 9000.0)
    trace = Trace(np.arange(400.0), prompt, np.full(400, 50.0))
    wanted, market = Wanted(model("llama-3-8b"), 800, 100, ("vllm",)), Market.open(["h100"])
    plan = plan_serve(wanted, Demand.of_trace(trace), Slo.read("tpot=40ms"), market)
    assert any("25.00% of the requests are longer than the 8,192 tokens" in line for line in plan.said)
    assert not any("longer than" in line for line in planned().said)


def test_a_precision_that_no_device_has_is_refused():
    with pytest.raises(BadInputError, match="do not match"):
        Choices.of(Wanted(model("llama-3-8b"), 800, 100, precisions=("nvfp4",)), {"h100": 8})


def test_requests_longer_than_the_model_reads_are_refused():
    with pytest.raises(BadInputError, match="tokens at most"):
        Wanted(model("llama-3-8b"), 1e6, 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft=1s,tpott=40ms", "tpot"),
        ("speed", "write limits"),
        ("ttft=", "write limits"),
        ("tpot=fast", "a duration"),
        ("tpot=0s", "above zero"),
        ("tpot_p100=1s", "below 100"),
        ("", "no objective"),
    ],
)
def test_an_objective_that_cannot_be_read_is_refused_with_the_fix(text, said):
    with pytest.raises(BadInputError, match=said):
        Slo.read(text)


def test_objectives_are_read_with_their_percentiles():
    slo = Slo.read("ttft=1s, tpot=40ms,ttft_p99=2s")
    assert slo.limits == (Limit("ttft", 1.0, 90), Limit("tpot", 0.04, 90), Limit("ttft", 2.0, 99))
    assert slo.percent("ttft") == 99
    assert (slo.objective().ttft_s, slo.objective().tpot_s) == (1.0, 0.04)


def test_unknown_engines_and_precisions_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="vllm"):
        Wanted(model("llama-3-8b"), 800, 100, engines=("vlm",))
    with pytest.raises(UnknownNameError, match="fp8"):
        Wanted(model("llama-3-8b"), 800, 100, precisions=("fp7",))


def test_a_market_without_offers_is_refused():
    with pytest.raises(BadInputError, match="rents rubin so"):
        Market.open(["rubin"])


def test_nothing_can_be_asked_at_no_rate():
    with pytest.raises(BadInputError, match="above zero"):
        Demand.at_rate(0.0, 800, 100)
