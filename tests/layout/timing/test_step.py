"""A training step: what is pinned, what must hold whatever the figures, and how fast many cases are timed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.stack import STACK
from pennyweight.layout.timing.step import PARTS, model_flop, parts_s, step_s

H100 = Machines.one(machine(accelerator("h100")))
DEGREES = st.sampled_from([1, 2, 4, 8])


def timed(layout, name="llama-3-70b", batch=512.0, sequence=4096.0, machines=H100):
    return Cases(Models.one(model(name)), Layouts.of([layout]), machines, sequence, batch)


def part(cases, name):
    return float(parts_s(cases)[..., PARTS.index(name)].squeeze())


def test_a_step_of_llama_70b_is_pinned():
    cases = timed(Layout(tp=4, pp=4, dp=4, chunks=5, sequence_parallel=True, recompute="selective"))
    found = dict(zip(PARTS, parts_s(cases)[0], strict=True))
    assert step_s(cases)[0] == pytest.approx(26.34, rel=0.001)
    assert found["matmul"] == pytest.approx(18.74, rel=0.001)
    assert found["bubble"] == pytest.approx(0.117, rel=0.01)


def test_a_published_step_is_met_without_fitting():
    cases = timed(
        Layout(tp=8, pp=8, chunks=3, recompute="full"),
        "megatron-175b",
        batch=64.0,
        sequence=2048.0,
        machines=Machines.one(machine(accelerator("a100-80gb"), "fp16")),
    )
    assert step_s(cases, STACK.changed({"tensor": 1.0, "send": 1.0}))[0] == pytest.approx(18.13, rel=0.15)


def test_parts_add_up_to_the_step():
    cases = timed(Layout(tp=2, pp=2, dp=2, zero=1, recompute="full"))
    assert parts_s(cases).sum(axis=-1) == pytest.approx(step_s(cases))
    assert (parts_s(cases) >= 0).all()


@given(DEGREES, DEGREES, st.sampled_from([1, 2, 5]), st.sampled_from([1, 2]))
def test_the_bubble_is_that_of_the_papers(pp, dp, chunks, micro):
    cases = timed(Layout(pp=pp, dp=dp, chunks=chunks, micro_batch=micro), name="llama-3-8b")
    layers = (
        "matmul",
        "attention",
        "elementwise",
        "recompute",
        "tensor_parallel",
        "context_parallel",
        "experts",
        "host",
    )
    busy = sum(part(cases, name) for name in layers)
    passes = 512 / dp / micro
    assert part(cases, "bubble") == pytest.approx(busy * (pp - 1) / (passes * chunks))


@given(DEGREES, DEGREES)
def test_more_replicas_never_slow_the_work_of_each(fewer, more):
    few, many = sorted((fewer, more))
    slower, faster = (timed(Layout(tp=2, dp=each, zero=1)) for each in (few, many))
    for name in ("matmul", "attention", "elementwise", "logits", "tensor_parallel", "optimizer"):
        assert part(faster, name) <= part(slower, name) * (1 + 1e-12)


@given(DEGREES, DEGREES, DEGREES, st.sampled_from(["none", "selective", "full"]))
def test_columns_give_what_single_cases_give(tp, pp, dp, recompute):
    layouts = [Layout(tp=tp, pp=pp, dp=dp, recompute=recompute), Layout(), Layout(tp=8, dp=8, zero=3)]
    models = [model(name) for name in ("llama-3-8b", "qwen3-30b-a3b", "deepseek-v3")]
    devices = [machine(accelerator(name)) for name in ("h100", "a100-80gb", "gb200")]
    together = Cases(
        Models.of(models), Layouts.of(layouts), Machines.of(devices), np.full(3, 4096.0), np.full(3, 512.0)
    )
    for at in range(3):
        one = Cases(Models.one(models[at]), Layouts.of(layouts[at : at + 1]), Machines.one(devices[at]), 4096.0, 512.0)
        assert step_s(together)[at] == pytest.approx(step_s(one)[0], rel=1e-12)


def test_layouts_beside_machines_are_every_pair():
    layouts = Layouts.at(tp=np.array([[1.0], [2.0], [4.0]]), dp=np.array([[4.0], [2.0], [1.0]]))
    machines = Machines.of([machine(accelerator(name)) for name in ("h100", "h200")])
    cases = Cases(Models.one(model("llama-3-8b")), layouts, machines, 4096.0, 64.0)
    assert step_s(cases).shape == (3, 2)
    assert parts_s(cases).shape == (3, 2, len(PARTS))


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Layout(tp=8), Layout(tp=8, recompute="full")),
        (Layout(pp=4, chunks=4), Layout(pp=4)),
        (Layout(dp=8, zero=1), Layout(dp=8, zero=3)),
        (Layout(tp=8), Layout(tp=16)),
    ],
    ids=["recompute costs", "interleaving saves", "gathering weights costs", "tensor parallelism over nodes costs"],
)
def test_what_costs_time_costs_time(better, worse):
    per_device = [step_s(timed(each, batch=128.0))[0] * each.devices for each in (better, worse)]
    assert per_device[0] < per_device[1]


def test_adapters_train_faster_and_reduce_nothing():
    cases = timed(Layout(dp=8))
    adapted = replace(cases, layout=replace(cases.layout, trained=np.float64(0.0)))
    assert part(adapted, "data_parallel") == 0.0
    assert part(adapted, "matmul") == pytest.approx(part(cases, "matmul") * 2 / 3)


def test_flop_are_those_of_six_per_parameter_and_token():
    cases = timed(Layout(), "llama-3-8b", batch=1.0, sequence=1024.0)
    matrices = 8.03e9 - 128_256 * 4096
    pairs = 32 * 12 * 1024 * 4096
    assert model_flop(cases)[0] == pytest.approx(1024 * (6 * matrices + pairs), rel=0.01)


def test_a_second_on_one_core_is_enough_for_a_million_layouts():
    import time

    count = 1 << 16
    rng = np.random.default_rng(0)
    degrees = {name: 2.0 ** rng.integers(0, 4, count) for name in ("tp", "pp", "dp", "micro_batch")}
    cases = Cases(Models.one(model("llama-3-70b")), Layouts.at(**degrees), H100, 4096.0, 4096.0)
    pieces = [cases.take(np.arange(start, start + 4096)) for start in range(0, count, 4096)]
    began = time.process_time()
    for piece in pieces:
        step_s(piece)
    assert (time.process_time() - began) / count < 3e-6  # three times what it takes: others run beside the tests


def test_products_of_experts_are_slower_than_as_many_plain_ones():
    cases = timed(Layout(dp=8, ep=8), "qwen3-30b-a3b")
    plain, grouped = (
        parts_s(cases, STACK.changed({"grouped": by}))[..., PARTS.index("matmul")].item() for by in (1.0, 2.0)
    )
    assert 1.3 * plain < grouped < 2.0 * plain
    dense = timed(Layout(dp=8), "llama-3-8b")
    assert step_s(dense, STACK.changed({"grouped": 2.0})) == step_s(dense)


def test_talk_of_experts_hides_behind_what_is_computed():
    cases = timed(Layout(dp=64, ep=64), "deepseek-v3")
    seen, hidden = (
        parts_s(cases, STACK.changed({"overlap": by}))[..., PARTS.index("experts")].item() for by in (0.0, 0.9)
    )
    assert 0.1 * seen <= hidden < seen


def test_experts_that_are_split_are_computed_and_talk_like_split_blocks():
    whole, split = (timed(Layout(tp=8, ep=ep), "qwen3-235b-a22b", batch=64.0) for ep in (8, 1))
    assert part(split, "experts") == 0.0 < part(whole, "experts")
    assert part(split, "tensor_parallel") > part(whole, "tensor_parallel")
    assert part(split, "optimizer") == pytest.approx(part(whole, "optimizer"))


def test_a_recurrence_takes_time_for_what_it_remembers():
    cases = timed(Layout(), "nemotron-3-nano", batch=8.0)
    forgetful = replace(cases, model=replace(cases.model, state=0.0 * cases.model.state))
    assert part(cases, "attention") > 1.1 * part(forgetful, "attention")
    assert float(timed(Layout(), "llama-3-8b").model.state) == 0.0
