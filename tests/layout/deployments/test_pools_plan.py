"""Plans with a pool that reads prompts and one that answers: dollars, promises, and that neither pool starves."""

import math
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.errors import UnknownNameError
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.joined import Joined, Part, packed
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.pairs import Pairs
from pennyweight.layout.deployments.plan import Demand, plan_serve
from pennyweight.layout.deployments.rent import Market, machine_usd
from pennyweight.layout.deployments.search import FULLEST, Search
from pennyweight.layout.serving.objectives import Slo

USUAL = "ttft=1s,tpot=20ms"


@cache
def planned(pools="both", slo=USUAL, on=("h100",), rate=20.0, prompt=4000):
    wanted = Wanted(model("llama-3-8b"), prompt, 200, ("vllm",), ("fp8",), pools=pools)
    return plan_serve(wanted, Demand.at_rate(rate, prompt, 200), Slo.read(slo), Market.open(on))


@cache
def searched(slo=USUAL, name="llama-3-8b", on=("h100",), rate=20.0):
    market = Market.open(on)
    choices = Choices.of(Wanted(model(name), 4000, 200, ("vllm",), ("fp8",)), market.most())
    search = Search(choices, market, Demand.at_rate(rate, 4000, 200).arrivals, Slo.read(slo))
    return search, Pairs(search, Lessons.of())


def test_each_kind_of_pools_is_planned_by_itself_and_both_together():
    assert {way.pools for way in planned("aggregated").front} == {"aggregated"}
    assert {way.pools for way in planned("disaggregated").front} == {"disaggregated"}
    assert {way.pools for way in planned("both").front} == {"aggregated", "disaggregated"}
    with pytest.raises(UnknownNameError, match="disaggregated"):
        Wanted(model("llama-3-8b"), 800, 100, pools="disagg")


def test_both_kinds_together_are_never_dearer_or_slower_than_one():
    both = planned("both").front
    for pools in ("aggregated", "disaggregated"):
        for way in planned(pools).front:
            assert any(
                each.usd_hour <= way.usd_hour and each.tpot_s[0] <= way.tpot_s[0] / 0.95 * (1 + 1e-9) for each in both
            )


def test_what_is_read_apart_keeps_the_objective_and_neither_pool_starves():
    plan = planned("disaggregated")
    for way in plan.front:
        assert plan.slo.limits[0].most_s >= way.ttft_s[0]
        assert plan.slo.limits[1].most_s >= way.tpot_s[0]
        assert 0 < way.reads.busy <= 0.81
        assert 0 < way.used <= FULLEST + 1e-9
        assert 0 < way.reads.network <= FULLEST + 1e-9


def test_one_instance_fewer_in_either_pool_misses_the_objective():
    _, pairs = searched("ttft=400ms,tpot=8ms", rate=40.0)
    found, tried = pairs.found([]), 0
    for each in found:
        read = int(pairs.apart.kind[each.reading.at])
        counts = each.reading.instances, each.replicas
        assert pairs._kept(read, each.at, counts) is not None
        for fewer in ((counts[0] - 1, counts[1]), (counts[0], counts[1] - 1)):
            if min(fewer) >= 1:
                assert pairs._kept(read, each.at, fewer) is None
                tried += 1
    assert tried > 1


def test_more_instances_that_read_keep_what_fewer_kept():
    _, pairs = searched()
    each = pairs.found([])[0]
    read, base = int(pairs.apart.kind[each.reading.at]), each.reading.instances
    waits = [
        np.percentile(pairs._follow(read, each.at, (base + more, each.replicas))[0].ttft_s, 90) for more in range(4)
    ]
    assert waits == sorted(waits, reverse=True)


def test_long_prompts_are_answered_faster_for_as_many_dollars_by_two_pools():
    together, apart = (planned(pools, prompt=7000) for pools in ("aggregated", "disaggregated"))
    least = min(way.usd_hour for way in apart.front)
    rich = [way for way in together.front if way.usd_hour >= least]
    assert rich
    for way in rich:
        assert min(each.tpot_s[0] for each in apart.front if each.usd_hour <= way.usd_hour) < way.tpot_s[0]


def test_a_slower_network_makes_the_first_token_later():
    search, pairs = searched()
    each, slow = pairs.found([])[0], Pairs(search, Lessons.of())
    slow.apart = replace(pairs.apart, net_byte_s=pairs.apart.net_byte_s / 20)
    read = int(pairs.apart.kind[each.reading.at])
    counts = each.reading.instances, each.replicas
    fast_s, slow_s = (one._follow(read, each.at, counts)[0].ttft_s.mean() for one in (pairs, slow))
    assert slow_s > fast_s + 10 * 4000 * float(pairs.apart.token_byte[read]) / 50e9


def test_what_is_sent_of_a_token_is_its_keys_and_values():
    _, pairs = searched()
    assert pairs.apart.token_byte == pytest.approx(2 * 32 * 8 * 128)  # llama-3-8b: layers, heads, width, fp8


def test_dollars_are_those_of_whole_machines_of_all_pools():
    for way in (*planned("disaggregated").front, *planned("disaggregated", on=("h100", "l40s", "a100-80gb")).front):
        reads = way.reads
        if reads.rent is None:
            devices = way.rent.machines * way.rent.offer.devices
            assert devices >= way.replicas * way.devices + reads.replicas * reads.devices
        else:
            assert (way.rent.offer.cloud, way.rent.offer.region) == (reads.rent.offer.cloud, reads.rent.offer.region)
            assert way.usd_hour == pytest.approx(way.rent.usd_hour + reads.rent.usd_hour)
        assert sum(way.split.values()) == pytest.approx(way.usd_hour)
        assert min(way.split.values()) >= -1e-9
        assert way.paid[1] <= way.paid[0] == way.usd_hour <= way.paid[2]


def test_pools_of_two_kinds_of_devices_are_rented_in_one_place():
    joined = Joined(Market.open(["h100", "l40s", "a100-80gb"]))
    rents = [joined.rent(Part("h100", 1, 2), Part(name, 1, 5)) for name in ("l40s", "a100-80gb")]
    assert any(rents)
    for write, read in filter(None, rents):
        assert read.offer.accelerator == "h100"
        assert (write.offer.cloud, write.offer.region) == (read.offer.cloud, read.offer.region)
        assert read.usd_hour == pytest.approx(read.machines * machine_usd(read.offer, spare=read.spare))


def test_machines_hold_two_pools_as_tightly_as_can_be():
    for devices, big, small, many, few in product((8, 4), (4, 2, 1), (2, 1), range(1, 6), range(1, 6)):
        if small <= big:
            found = packed(devices, Part("", big, many), Part("", small, few))
            assert found == packed(devices, Part("", small, few), Part("", big, many))
            assert found == math.ceil((big * many + small * few) / devices)


def test_two_pools_are_less_sure_than_one_and_it_is_said():
    one, two = planned("aggregated").cheapest, planned("disaggregated").cheapest
    for what in ("ttft_s", "tpot_s"):
        ends = [getattr(way, what) for way in (one, two)]
        assert ends[1][2] / ends[1][1] > ends[0][2] / ends[0][1]
    assert any("DistServe" in line and "Splitwise" in line for line in planned("disaggregated").said)
    assert not any("DistServe" in line for line in planned("aggregated").said)


def test_two_pools_that_miss_say_by_how_much():
    plan = planned("disaggregated", slo="tpot=0.1ms")
    assert plan.cheapest is None
    assert "1 × h100 that read and" in plan.why or "× h100 that answer" in plan.why
    assert plan.fix.startswith("allow tpot=")


def test_experts_are_spread_in_either_pool():
    _, pairs = searched(name="qwen3-30b-a3b", slo="ttft=2s,tpot=30ms")
    found = pairs.found([])
    assert found
    kinds = {pairs.writers.serving[at].decode for at in pairs.apart.at.tolist()}
    assert any(pool.expert_parallel > 1 for pool in kinds)
