"""Memory while training: the published arithmetic, and what every setting does to it."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.core.dims import Dims
from pennyweight.core.layout import Layout
from pennyweight.cost.columns import columns_of
from pennyweight.cost.transformer_parameters import parameters
from pennyweight.layout.memory import training as memory
from pennyweight.layout.memory.activations import in_flight, kept_per_layer

GPT = Dims("gpt3-175B", 96, 12288, 96, 4 * 12288, 51200, tied=True, gated=False, bias=True)
EIGHT_B = model("llama-3.1-8b")
MIXTRAL = model("mistralai/Mixtral-8x7B-v0.1")


def total(dims, seq=4096, **changed):
    layout = {name: changed.pop(name) for name in tuple(changed) if name in Layout.__dataclass_fields__}
    return float(memory.training(dims, memory.setting_of(Layout(**layout), seq, **changed)).total)


def layer_byte(**changed):
    return kept_per_layer(GPT, memory.Setting(seq=2048, micro_batch=1, tp=8, scores=1, dropout=1, **changed))


@pytest.mark.parametrize(
    ("changed", "formula"),
    [
        ({}, lambda s, h, a, t: 10 + 24 / t + 5 * a * s / (h * t)),
        ({"sequence_parallel": 1}, lambda s, h, a, t: 34 / t + 5 * a * s / (h * t)),
        ({"selective": 1}, lambda s, h, a, t: 10 + 24 / t),
        ({"sequence_parallel": 1, "selective": 1}, lambda s, h, a, t: 34 / t),
        ({"full": 1}, lambda s, h, a, t: 2),
    ],
    ids=["none", "sequence", "selective", "both", "full"],
)
def test_a_layer_keeps_what_table_2_of_korthikanti_says(changed, formula):
    s, h, a, t = 2048, 12288, 96, 8
    assert layer_byte(**changed) == pytest.approx(s * h * formula(s, h, a, t))


def test_a_pipeline_keeps_all_layers_on_its_first_stage_and_its_own_on_the_last():
    plain = memory.Setting(seq=2048, pp=8)
    assert in_flight(GPT, plain, last=False) == 96
    assert in_flight(GPT, plain, last=True) == 12
    assert in_flight(GPT, replace(plain, micro_batches=2), last=False) == 24
    assert in_flight(GPT, replace(plain, chunks=3), last=False) == pytest.approx(96 * (1 + 7 / 24))
    assert in_flight(GPT, replace(plain, chunks=3), last=True) == 4 * 17


def test_adam_in_mixed_precision_takes_18_bytes_per_parameter():
    parts = memory.stage(EIGHT_B, memory.setting_of(Layout(), 4096), last=True)
    assert parts.state == pytest.approx(18 * parameters(EIGHT_B), rel=1e-9)


@pytest.mark.parametrize(("zero", "byte"), [(0, 18), (1, 6 + 12 / 8), (2, 2 + 16 / 8), (3, 18 / 8)])
def test_zero_shards_state_then_gradients_then_weights(zero, byte):
    parts = memory.stage(EIGHT_B, memory.setting_of(Layout(dp=8, zero=zero), 4096), last=True)
    assert parts.state == pytest.approx(byte * parameters(EIGHT_B), rel=1e-9)


def test_what_is_split_over_devices_adds_up_to_the_whole():
    whole = memory.held(EIGHT_B, memory.Setting(seq=1), last=True)[0]
    halves = memory.held(EIGHT_B, memory.Setting(seq=1, tp=2), last=True)[0]
    stages = sum(memory.held(EIGHT_B, memory.Setting(seq=1, pp=2), last=last)[0] for last in (False, True))
    assert whole == pytest.approx(parameters(EIGHT_B))
    assert whole / 2 < halves < whole / 2 * 1.001  # norms are on both
    assert stages == pytest.approx(whole)


def test_a_tied_embedding_is_on_both_ends_of_a_pipeline():
    stages = [memory.held(GPT, memory.Setting(seq=1, pp=2), last=last)[0] for last in (False, True)]
    assert sum(stages) - parameters(GPT) == pytest.approx(51200 * 12288)


def test_experts_are_spread_over_expert_parallelism():
    shared, experts = memory.held(MIXTRAL, memory.Setting(seq=1), last=True)
    spread = memory.held(MIXTRAL, memory.Setting(seq=1, dp=8, ep=8), last=True)
    assert spread == (pytest.approx(shared), pytest.approx(experts / 8))
    assert 0.9 < experts / (shared + experts) < 1


SAVING = {
    "micro_batch": ({"micro_batch": 4}, {"micro_batch": 2}),
    "recompute": ({"micro_batch": 4}, {"micro_batch": 4, "recompute": "full"}),
    "fused attention": ({"scores": 1}, {"scores": 0}),
    "tp": ({"tp": 2}, {"tp": 4}),
    "sequence parallel": ({"tp": 4, "micro_batch": 4}, {"tp": 4, "micro_batch": 4, "sequence_parallel": True}),
    "context": ({"cp": 1}, {"cp": 2, "zero": 1}),
    "zero 1": ({"dp": 8}, {"dp": 8, "zero": 1}),
    "zero 3": ({"dp": 8, "zero": 1}, {"dp": 8, "zero": 3}),
    "offload": ({}, {"offload": "optimizer"}),
    "bf16": ({"precision": "fp32", "micro_batch": 4}, {"micro_batch": 4}),
}


@pytest.mark.parametrize("way", SAVING)
@pytest.mark.parametrize("dims", [EIGHT_B, MIXTRAL], ids=lambda dims: dims.name)
def test_every_way_of_saving_saves(way, dims):
    before, after = SAVING[way]
    assert total(dims, **after) < total(dims, **before)


def test_many_layouts_at_once_are_what_each_is_alone():
    columns = columns_of([EIGHT_B, MIXTRAL, GPT])
    at_once = memory.Setting(
        seq=np.array([4096, 2048, 1024]), tp=np.array([1, 2, 8]), pp=np.array([2, 1, 4]), zero=np.array([0, 1, 3]),
        dp=np.array([1, 4, 2]), full=np.array([0, 1, 0]),
    )  # fmt: skip
    found = memory.training(columns, at_once).total
    for at, dims in enumerate((EIGHT_B, MIXTRAL, GPT)):
        alone = memory.Setting(
            **{name: np.asarray(getattr(at_once, name)).flat[min(at, np.size(getattr(at_once, name)) - 1)]
               for name in memory.Setting.__dataclass_fields__}
        )  # fmt: skip
        assert found[at] == pytest.approx(float(memory.training(dims, alone).total))
