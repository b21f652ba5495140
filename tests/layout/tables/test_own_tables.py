"""Small tables of one's own: what may be left out, what is refused, and that answers are those of published kinds."""

import numpy as np
import pytest

from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.training import TrainWork
from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.score import score
from pennyweight.layout.tables import own_serving, own_steps

STEP = {"model": "llama-3-8b", "accelerator": "h100", "devices": "8", "micro_batch": "1", "global_batch": "128",
        "sequence": "8192", "step_s": "9"}  # fmt: skip
SERVED = {"model": "qwen3-32b", "accelerator": "h100", "engine": "vllm", "concurrency": "16", "prompt_tokens": "1024",
          "output_tokens": "1024", "ttft_s": "0.2", "tpot_s": "0.02"}  # fmt: skip


def table(*lines):
    names = {name: None for line in lines for name in line}
    columns = {name: np.array([line.get(name, "") for line in lines], dtype=np.str_) for name in names}
    return Rows(columns, np.arange(2, 2 + len(lines)))


def steps(*changes):
    return score(table(*({**STEP, **change} for change in changes))).targets[0].forecast


def served(*changes):
    return {each.name: each.forecast for each in score(table(*({**SERVED, **change} for change in changes))).targets}


def test_what_is_left_out_is_one_of_each_and_the_rest_of_the_devices_are_replicas():
    short, whole = steps({}, {"tp": "1", "pp": "1", "dp": "8", "cp": "1", "ep": "1", "chunks": "1", "precision": "bf16",
                              "recompute": "none", "zero": "1"}).value  # fmt: skip
    assert short == pytest.approx(whole)


def test_steps_follow_batch_devices_precision_and_recompute():
    base, twice, more, narrow, again = steps(
        {}, {"global_batch": "256"}, {"devices": "16"}, {"precision": "fp8"}, {"recompute": "full"}
    ).value
    assert twice == pytest.approx(2 * base, rel=0.1)
    assert more == pytest.approx(base / 2, rel=0.15)
    assert narrow < base < again


def test_a_step_takes_what_an_estimate_says_of_the_same_layout():
    found = estimate(
        TrainWork(model("llama-3-8b"), 1e12, 8192, 128), "h100", 8, Layout(dp=4, tp=2, zero=1, sequence_parallel=True)
    )
    alone = steps({"tp": "2", "zero": "1"}).value[0]
    assert alone == pytest.approx(found.step.value, rel=0.1)


def test_uneven_stages_wait_for_the_fullest():
    even, odd = steps({"pp": "2", "devices": "16"}, {"pp": "3", "devices": "24", "dp": "8"}).value
    assert odd > even * 2 / 3


def test_a_model_may_be_a_folder_with_its_config(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,'
        '"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192}'
    )
    found, known = steps({"model": str(tmp_path)}, {}).value
    assert found == pytest.approx(known, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"micro_batch": "1.5"}, "whole number"),
        ({"micro_batch": "0"}, "micro_batch = 0"),
        ({"zero": "7"}, "zero = 7"),
        ({"recompute": "sometimes"}, "recompute = 'sometimes'"),
        ({"ep": "3"}, "Experts cannot be spread"),
        ({"dp": "3"}, "8 devices are not"),
    ],
)
def test_an_impossible_layout_says_so(change, said):
    scored = score(table(STEP, {**STEP, **change}))
    assert said in scored.notes[1]
    assert np.isnan(scored.targets[0].forecast.value).tolist() == [False, True]


def test_served_rows_are_answered_as_the_published_kind_answers_them():
    rows = table(SERVED, {**SERVED, "concurrency": "64", "tp": "2", "precision": "fp8"})
    told = own_serving.TABLE.untaught().learnt.predict(own_serving.translated(rows))
    for name, forecast in served({}, {"concurrency": "64", "tp": "2", "precision": "fp8"}).items():
        np.testing.assert_allclose(forecast.value, told[name].value)


def test_more_users_wait_longer_and_more_devices_answer_faster():
    found = served({}, {"concurrency": "64"}, {"tp": "4"})
    for forecast in found.values():
        assert forecast.value[1] > forecast.value[0] > forecast.value[2]


def test_what_was_measured_is_not_looked_at():
    for forecast in served({}, {"ttft_s": "99", "tpot_s": "slow"}).values():
        assert forecast.value[0] == pytest.approx(forecast.value[1])
    first, other = steps({}, {"step_s": "999"}).value
    assert first == pytest.approx(other)


@pytest.mark.parametrize("name", ["engine", "concurrency", "model"])
def test_a_served_row_that_says_too_little_is_not_answered(name):
    scored = score(table(SERVED, {**SERVED, name: ""}))
    assert f"does not say its {name}" in scored.notes[1]


def test_both_are_kept_and_restored():
    rows = table(*({**STEP, "global_batch": str(batch), "step_s": str(batch / 10)} for batch in (64, 128, 256)))
    learnt = own_steps.TABLE.learn(rows)
    again = own_steps.TABLE.restore(learnt.to_dict())
    np.testing.assert_allclose(
        again.predict(rows)["step_time_s"].value, learnt.predict(rows)["step_time_s"].value, rtol=1e-4
    )
    kept = own_serving.TABLE.restore(own_serving.TABLE.untaught().to_dict())
    np.testing.assert_allclose(kept.predict(table(SERVED))["tpot_s"].value, served({})["tpot_s"].value)
    assert own_steps.TABLE.groups(rows, "model").tolist() == ["llama-3-8b"] * 3
    assert own_serving.TABLE.groups(table(SERVED), "engine").tolist() == ["vllm"]
