"""Kernels and links: what is pinned, and what holds for all shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerator, accelerators
from pennyweight.layout.timing import kernels, links
from pennyweight.layout.timing.cases import Machines
from pennyweight.layout.timing.links import Group
from pennyweight.layout.timing.rates import machine

SIDE = st.integers(1, 65536).map(float)
BYTES = st.floats(1.0, 1e10)
RANKS = st.sampled_from([2.0, 4.0, 8.0, 16.0, 64.0])


def of(name, precision="bf16"):
    return Machines.one(machine(accelerator(name), precision))


@pytest.mark.parametrize(
    ("name", "precision", "measured_ms"),
    [("h100", "bf16", 0.7007), ("h100", "fp8", 0.4401), ("a100-80gb", "bf16", 2.0902), ("b200", "nvfp4", 0.1610)],
)
def test_a_large_product_takes_what_was_measured(name, precision, measured_ms):
    assert kernels.matmul_s(8192.0, 8192.0, 4096.0, of(name, precision)) * 1e3 == pytest.approx(measured_ms, rel=0.10)


@given(SIDE, SIDE, SIDE, SIDE)
def test_a_larger_product_never_takes_less(m, n, k, more):
    once = of("h100", "fp8")
    assert kernels.matmul_s(m + more, n, k, once) > kernels.matmul_s(m, n, k, once)
    assert kernels.matmul_s(m, n, k + more, once) > kernels.matmul_s(m, n, k, once)


def test_long_attention_reaches_its_share_of_the_peak():
    h100 = of("h100")
    seconds = kernels.attention_s(1.0, 65536.0, 65536.0, 4096.0, h100)
    assert 4.0 * 65536.0**2 * 4096.0 / seconds == pytest.approx(0.64 * 989e12, rel=0.02)


@given(BYTES, BYTES, RANKS)
def test_collectives_never_get_faster_with_more_bytes(less, more, ranks):
    few, many = sorted((less, more))
    group, a100 = Group.of(ranks, 1.0, 8.0), of("a100-80gb")
    for talk in (links.all_reduce_s, links.gather_s):
        assert talk(few, group, a100) <= talk(many, group, a100) * (1 + 1e-12)
    assert links.dispatch_s(few, 8.0, group, a100) <= links.dispatch_s(many, 8.0, group, a100) * (1 + 1e-12)


@given(BYTES)
def test_one_rank_alone_has_nothing_to_say(byte):
    alone, h100 = Group.of(1.0, 1.0, 8.0), of("h100")
    assert links.all_reduce_s(byte, alone, h100) == links.gather_s(byte, alone, h100) == 0.0
    assert links.dispatch_s(byte, 8.0, alone, h100) == 0.0


def test_all_reduce_is_what_nccl_took(samples):
    text = (samples / "training" / "nccl_allreduce_vtrain.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in text if line.startswith("a100")]
    ranks, byte, ns = (np.array([float(row[at]) for row in rows]) for at in (1, 2, 3))
    large = byte >= 4e6
    told = links.all_reduce_s(byte, Group.of(ranks, 1.0, 8.0), of("a100-80gb")) * 1e9
    off = np.abs(told / ns - 1)[large]
    assert large.sum() > 1000
    assert off.mean() < 0.15


def test_a_group_over_nodes_is_bound_by_its_network_cards():
    h100 = of("h100")
    inside, across = Group.of(8.0, 1.0, 8.0), Group.of(16.0, 1.0, 8.0)
    sparse = Group.of(16.0, 8.0, 8.0)
    assert links.all_reduce_s(1e9, inside, h100) < links.all_reduce_s(1e9, across, h100)
    assert links.all_reduce_s(1e9, across, h100) < links.all_reduce_s(1e9, sparse, h100)


def test_every_accelerator_of_the_catalog_has_rates():
    for each in accelerators():
        found = machine(each)
        assert 0 < found.flop_s <= each.peak("bf16")
        assert found.node == each.fast_devices


def test_tokens_cross_the_network_once_per_node():
    h100 = of("h100")
    eight_nodes = Group.of(64.0, 1.0, 8.0)
    few, many = links.dispatch_s(1e8, 1.0, eight_nodes, h100), links.dispatch_s(1e8, 64.0, eight_nodes, h100)
    assert few < many < 9 * few
