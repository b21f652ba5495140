"""Calibrated estimates and plans, reports of serving, and launches that are impossible, as a user meets them."""

import json
import shutil
from pathlib import Path

import pytest
from processes import call

from pennyweight.cli.calibrated import USUAL
from pennyweight.cli.measured import calibrate

STEPS = Path(__file__).parents[2] / "recipes" / "steps.csv"
SERVED = "model,accelerator,engine,concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s\n"
ESTIMATE = ("estimate", "llama-3-8b", "--train-tokens", "1e12", "--on", "64xh100")
SERVE = ("plan", "serve", "llama-3-8b", "--rate", 20, "--prompt", 800, "--output", 100, "--slo", "tpot=40ms")
SERVE_H100 = (*SERVE, "--on", "h100", "--engine", "vllm")


@pytest.fixture
def taught(tmp_path):
    shutil.copy(STEPS, tmp_path / "steps.csv")
    (tmp_path / "served.csv").write_text(SERVED + "llama-3-8b,h100,vllm,8,800,100,0.2,0.02\n" * 3)
    for source in ("steps.csv", "served.csv"):
        code, _, err = call(tmp_path, "calibrate", source)
        assert code == 0, err
    return tmp_path


def step(place, *words):
    code, out, err = call(place, *ESTIMATE, *words, "--json")
    assert code == 0, err
    return json.loads(out)["step_s"]


def test_what_calibrate_keeps_in_this_folder_moves_estimates_by_itself(taught):
    moved, shipped = step(taught), step(taught, "--calibration", "none")
    assert moved["value"] > 1.05 * shipped["value"]
    assert moved == step(taught, "--calibration", "mine.toml")
    assert calibrate.__kwdefaults__["output"] == USUAL
    code, out, err = call(taught, *ESTIMATE)
    assert code == 0, err
    assert "Calibration mine.toml is used, taught by 8 rows of own_steps; without it: --calibration none." in out
    assert "8 measured steps of your own (steps.csv)" in out
    assert "Nearest measured: " in out
    assert "% MFU" in out


def test_plans_are_moved_and_say_so(taught):
    words = ("plan", "train", "llama-3-8b", "--tokens", "1e12", "--on", "h100", "--top", 2)
    code, out, err = call(taught, *words, "--calibration", "mine.toml")
    assert code == 0, err
    assert "Calibration mine.toml is used, taught by 8 rows of own_steps." in out
    code, served, err = call(taught, *SERVE_H100, "--top", 2)
    assert code == 0, err
    assert "taught by 3 rows of own_serving" in served
    assert "3 served rows of your own (served.csv), vllm on h100, moved" in served


def test_a_usual_file_that_is_no_calibration_is_said_and_not_used(tmp_path):
    (tmp_path / "mine.toml").write_text("[package]\n")
    code, out, err = call(tmp_path, *ESTIMATE, "--json")
    assert code == 0
    assert json.loads(out)["step_s"] == step(tmp_path, "--calibration", "none")
    assert "It is not used" in err
    code, _, err = call(tmp_path, *ESTIMATE, "--calibration", "mine.toml")
    assert code == 2
    assert "is no calibration" in err


def test_a_plan_to_serve_has_intervals_of_dollars_and_a_report(tmp_path):
    code, out, err = call(tmp_path, *SERVE_H100, "--report", "serve.html", "--prefix-hit", 0.3, "--top", 3)
    assert code == 0, err
    assert "The cheapest, with 90% intervals: $" in out
    assert "per million tokens of answers" in out
    assert "joules are those of sourcegraph-fim" in out
    assert "30% of every prompt is found in the prefix cache" in out
    assert (tmp_path / "serve.html").read_text().count("<svg") == 3


def test_the_report_of_an_estimate_draws_dollars_against_days_the_step_and_the_memory(tmp_path):
    code, _, err = call(tmp_path, *ESTIMATE, "--report", "run.html")
    assert code == 0, err
    text = (tmp_path / "run.html").read_text()
    for title in ("Dollars against days of training", "Where the time of a step goes", "Memory of the fullest device"):
        assert f">{title}" in text
    assert text.count("<svg") == 3
    assert "Nearest measured: " in text
    assert len(text) < 100_000


def test_a_draft_model_is_planned_and_launched(tmp_path):
    words = ("plan", "serve", "llama-3-70b", "--rate", 5, "--prompt", 800, "--output", 100, "--slo", "tpot=40ms")
    draft = ("--draft", "accept=0.7,tokens=3,model=llama-3-8b")
    code, out, err = call(tmp_path, *words, *draft, "--on", "h100", "--no-spot", "--emit", "vllm", "--top", 2)
    assert code == 0, err
    assert "2.53 tokens per pass" in out
    [file] = tmp_path.glob("serve-*.sh")
    assert "num_speculative_tokens" in file.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SERVE, "--on", "h100", "--engine", "sglang", "--emit", "vllm"), "Launch files start vllm, not sglang"),
        ((*SERVE, "--on", "h100", "--emit", "torchrun"), "torchrun does not serve models"),
        ((*ESTIMATE, "--emit", "vllm"), "vllm does not train models"),
        (("plan", "train", "llama-3-8b", "--tokens", "1e12", "--emit", "vllm"), "vllm does not train models"),
        ((*ESTIMATE[:-1], "8xtpu-v5p", "--emit", "slurm"), "devices of NVIDIA and AMD"),
    ],
)
def test_a_launch_that_is_impossible_is_refused_before_anything_is_told(tmp_path, words, said):
    code, out, err = call(tmp_path, *words)
    assert code == 2
    assert said in err
    assert "To fix:" in err
    assert not out
