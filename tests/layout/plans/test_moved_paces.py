"""Measured steps of one's own move the plans they speak of, and no others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.planning import plan_train
from pennyweight.layout.plans.renting import Terms
from pennyweight.layout.plans.searching import Field, Site, least_s
from pennyweight.layout.plans.spreading import EVERY
from pennyweight.layout.plans.stacks import pace
from pennyweight.layout.plans.training import TrainWork
from pennyweight.layout.scoring.calibrating import Calibration, learn_own

STEPS = Path(__file__).parents[3] / "recipes" / "steps.csv"
WORK = TrainWork(model("llama-3-70b"), 2e12)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    lesson = learn_own(STEPS)
    path = tmp_path_factory.mktemp("own") / "mine.toml"
    Calibration({lesson.kind: lesson.taught}).save(path)
    return Calibration.load(path)


def bent(calibration, slope):
    taught = calibration.kinds["own_steps"]
    correction = replace(taught.corrections["step_time_s"], slope=slope)
    return Calibration({"own_steps": replace(taught, corrections={"step_time_s": correction})})


def test_an_estimate_moves_by_what_the_steps_say_and_is_surer(mine):
    shipped, moved = estimate(WORK, "h100", 512), estimate(WORK, "h100", 512, terms=Terms(calibration=mine))
    factor = mine.kinds["own_steps"].corrections["step_time_s"].factor
    assert factor > 1.05
    assert moved.step.value == pytest.approx(shipped.step.value * factor)
    assert moved.usd.value > 1.05 * shipped.usd.value
    assert moved.step.high / moved.step.low < 0.9 * shipped.step.high / shipped.step.low
    assert sum(moved.parts_s.values()) == pytest.approx(moved.step.value)
    assert f"8 measured steps of your own (steps.csv) say × {factor:.3g}" in moved.said[0]


def test_a_row_is_estimated_as_it_was_scored_after_calibration(mine):
    row = estimate(
        TrainWork(model("llama-3-70b"), 1e12, 8192, 128),
        "h100",
        64,
        Layout(tp=4, pp=4, dp=4, zero=1, sequence_parallel=True),
        Terms(calibration=mine),
    )
    assert row.step.low < 16.1 < row.step.high
    assert row.step.value == pytest.approx(16.1, rel=0.1)


@pytest.mark.parametrize(("device", "stack"), [("b200", "megatron"), ("a100-80gb", "megatron"), ("h100", "fsdp")])
def test_what_the_rows_say_nothing_about_does_not_move(mine, device, stack):
    work = TrainWork(model("llama-3-8b"), 1e12)
    shipped = estimate(work, device, 64, terms=Terms(stack=stack))
    moved = estimate(work, device, 64, terms=Terms(stack=stack, calibration=mine))
    assert (moved.step, moved.usd, moved.layout) == (shipped.step, shipped.usd, shipped.layout)
    assert f"no steps of {stack} on {device}" in moved.said[0]


def test_a_calibration_from_before_accelerators_were_kept_moves_no_plan(mine):
    old = Calibration({"own_steps": replace(mine.kinds["own_steps"], accelerators=())})
    assert estimate(WORK, "h100", 512, terms=Terms(calibration=old)).step == estimate(WORK, "h100", 512).step


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.3])
def test_no_step_takes_less_than_the_bound_whatever_the_slope(mine, slope):
    calibration, site = bent(mine, slope), Site("h100", 8)
    field = Field.of(WORK, [64, 512, 4096], 8, EVERY)
    steps = field.timed(site, "megatron", calibration)[field.spread.legal]
    devices = np.broadcast_to(field.spread.rows["devices"][:, None], field.spread.legal.shape)[field.spread.legal]
    assert (steps * devices >= least_s(WORK, site, "megatron", calibration) * (1 - 1e-9)).all()


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_plan_has_the_figures_of_its_estimates(mine, slope):
    plan = plan_train(WORK, on=("h100", "b200"), terms=Terms(calibration=bent(mine, slope)))
    for each in (plan.cheapest, plan.fastest):
        assert plan.estimate(each).seconds.value == pytest.approx(each.seconds)


def test_slow_steps_of_ones_own_make_other_devices_the_cheapest(mine):
    taught = mine.kinds["own_steps"]
    slow = replace(taught.corrections["step_time_s"], offset=3.0)
    calibration = Calibration({"own_steps": replace(taught, corrections={"step_time_s": slow})})
    assert plan_train(WORK, on=("h100", "b200")).cheapest.accelerator == "h100"
    assert plan_train(WORK, on=("h100", "b200"), terms=Terms(calibration=calibration)).cheapest.accelerator == "b200"


def test_one_step_counts_for_little_and_ten_that_agree_for_all(tmp_path):
    head, line = (
        "model,accelerator,devices,tp,micro_batch,global_batch,sequence,step_s",
        "llama-3-8b,h100,8,1,1,128,8192",
    )
    paces = []
    for count in (1, 10):
        (tmp_path / "own.csv").write_text("\n".join([head, *[f"{line},{17 + 0.01 * at}" for at in range(count)]]))
        lesson = learn_own(tmp_path / "own.csv")
        calibration = Calibration({lesson.kind: lesson.taught})
        paces.append(pace("megatron", TrainWork(model("llama-3-8b"), 1e12), "h100", calibration))
    shipped = pace("megatron", TrainWork(model("llama-3-8b"), 1e12), "h100")
    few, many = (float(each.seconds(np.float64(1.0))) for each in paces)
    assert shipped.factor < few < many
    widths = [each.interval(1.0)[1] / each.interval(1.0)[0] for each in (shipped, *paces)]
    assert widths[2] < widths[1]
    assert widths[2] < widths[0]


def test_the_nearest_measured_run_is_named_with_its_mfu():
    near = estimate(TrainWork(model("llama-3-70b"), 1e12, 4096, 2048), "h100", 64).near
    assert "NeMo" in near.run
    assert near.run.endswith("% MFU")
    assert str(near).startswith("nearest measured: ")


def test_no_dense_run_is_nearest_to_a_mixture_of_experts():
    dense, mixed = (
        estimate(TrainWork(model(name), 1e12), "h100", 256).near for name in ("llama-3-70b", "mixtral-8x7b")
    )
    sparse = ("DeepSeek", "Qwen3_30B", "Qwen3_235B", "Mixtral", "GPT OSS", "Nemotron_3", "Kimi")
    assert not any(name.lower() in dense.run.lower() for name in sparse)
    assert any(name.lower() in mixed.run.lower() for name in sparse)


def test_a_run_unlike_all_is_said_to_be_outside():
    near = estimate(TrainWork(model("llama-3-8b"), 1e12, 131072, 3), "l4", 96).near
    assert near.outside
    assert str(near).startswith("outside what was measured, ")
    assert "nearest measured" in str(near)


def test_fsdp_is_near_to_runs_of_fsdp():
    near = estimate(TrainWork(model("llama-3-8b"), 1e12), "h100", 64, terms=Terms(stack="fsdp")).near
    assert "LLM Foundry" in near.run
