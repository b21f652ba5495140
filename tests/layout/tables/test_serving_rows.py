"""The table of measured serving: what is read of a row, what is learned, and how far off it is on models never seen."""

import json

import numpy as np
import pytest

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.serving import TABLE, TARGETS, calibrated
from pennyweight.layout.tables.serving_columns import read
from pennyweight.layout.tables.serving_learning import usual_shares
from pennyweight.layout.tables.serving_likeness import columns_of, least_off

PLAIN = {
    "id": "x_c16_cfg1",
    "silicon_data_source": "mine; silicon_concurrency=16; measured=2026-01-02; vllm:v1",
    "backend": "vllm",
    "backend_version": "1",
    "model_path": "meta-llama/Llama-3.1-70B",
    "system": "h100_sxm",
    "precision": "fp8",
    "mode": "agg",
    "isl": "1024",
    "osl": "1024",
    "gemm_quant_mode": "fp8",
    "moe_quant_mode": "fp8",
    "batch_size": "16.0",
    "tp_size": "4.0",
    "pp_size": "1.0",
    "attention_dp_size": "1.0",
    "moe_tp_size": "4.0",
    "moe_ep_size": "1.0",
    "silicon_ttft_ms": "180",
    "silicon_tpot_ms": "16",
}


def table(*changes):
    rows = [{**PLAIN, **change} for change in changes]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Rows({name: np.array([row.get(name, "") for row in rows]) for name in names}, np.arange(2, 2 + len(rows)))


@pytest.fixture(scope="module")
def published(samples):
    rows = Rows.read(samples / "serving" / "serving_silicon_with_aic0120_predictions.csv")
    return rows.take(np.arange(0, len(rows), 3))


@pytest.fixture(scope="module")
def learnt(published):
    llama = TABLE.groups(published, "model") == "llama-3.1-70b"
    return TABLE.learn(published.take(~llama))


def test_a_row_is_read_as_the_deployment_it_names():
    fleet = read(table({})).fleet
    assert (fleet.tp[0], fleet.adp[0], fleet.concurrency[0], fleet.prompt[0]) == (4, 1, 16, 1024)
    assert (fleet.engine[0], fleet.system[0], fleet.gemm_byte[0]) == ("vllm", "h100", 1)


def test_tensor_times_expert_parallelism_written_as_tensor_parallelism_is_undone():
    squared = {"tp_size": "64.0", "moe_tp_size": "8.0", "moe_ep_size": "8.0", "model_path": "deepseek-ai/DeepSeek-R1"}
    dump = {"silicon_data_source": "db-dump/2026-04-27; silicon_concurrency=16"}
    grouped = {**squared, **dump, "tp_size": "1.0", "attention_dp_size": "64.0"}
    fleet = read(table({**squared, **dump}, grouped)).fleet
    assert fleet.tp.tolist() == [8, 1]
    assert fleet.adp.tolist() == [1, 8]
    assert fleet.ep.tolist() == [8, 8]
    assert fleet.prompt[0] == pytest.approx(0.9 * 1024)


def test_the_number_of_users_may_also_be_in_the_name():
    fleet = read(table({"silicon_data_source": "mine"})).fleet
    assert fleet.concurrency[0] == 16


def test_disaggregated_rows_without_workers_are_answered_but_not_scored():
    apart = {"mode": "disagg", "prefill_tp_size": "4", "decode_tp_size": "8", "silicon_data_source": "m_c64"}
    whole = {**apart, "prefill_num_workers": "2", "decode_num_workers": "1", "decode_batch_size": "64"}
    rows = table({**apart, "id": "a_c64_1"}, {**whole, "id": "b_c64_1"})
    known = read(rows)
    assert known.complete.tolist() == [False, True]
    assert "prefill_num_workers" in known.why[0] or "decode_num_workers" in known.why[0]
    assert np.isfinite(TABLE.measured(rows)["tpot_s"]).tolist() == [False, True]


def test_rows_a_device_cannot_do_are_not_scored():
    too_fast = {"silicon_tpot_ms": "1"}  # 35 GB of weights in a millisecond on two devices
    too_wide = {"tp_size": "72.0"}
    too_large = {"tp_size": "1.0", "model_path": "Qwen/Qwen3-235B-A22B-FP8"}
    measured = TABLE.measured(table({}, too_fast, too_wide, too_large))
    assert np.isfinite(measured["ttft_s"]).tolist() == [True, False, False, False]


def test_a_model_in_no_catalog_is_answered_from_dimensions_the_row_gives(learnt):
    given = {
        "model_path": "me/My-70B",
        "layers": "80",
        "hidden": "8192",
        "heads": "64",
        "kv_heads": "8",
        "ffn": "28672",
        "vocab": "128256",
        "tie_embeddings": "False",
    }
    told = learnt.predict(table({}, given))["tpot_s"]
    assert told.value[1] == pytest.approx(told.value[0], rel=0.02)


def test_an_unknown_model_is_not_answered_and_the_others_are(learnt):
    told = learnt.predict(table({"model_path": "nobody/nothing"}, {}))["tpot_s"]
    assert np.isnan(told.value[0])
    assert "no model named" in told.outside[0]
    assert told.value[1] > 0
    with pytest.raises(BadInputError, match="No row"):
        learnt.predict(table({"model_path": "nobody/nothing"}))


def test_a_model_or_a_device_in_no_catalog_is_stood_in_for_less_surely(learnt):
    told = learnt.predict(table({}, {"model_path": "nobody/nothing-70b"}, {"system": "H100X"}))["tpot_s"]
    assert "stands in" not in told.outside[0]
    assert "stands in for nobody/nothing-70b" in told.outside[1]
    assert "h100 stands in for H100X" in told.outside[2]
    wide = told.high / told.low
    assert wide[1:].min() > 1.3 * wide[0]
    assert told.value[1:] == pytest.approx(told.value[0], rel=0.4)


@pytest.mark.parametrize("name", ["TRT-LLM", "tensorrt-llm", "TensorRT_LLM", "trtllm"])
def test_an_engine_is_known_in_any_spelling(name):
    known = read(table({"backend": name}, {"backend": "vLLM", "precision": "FP8"}, {"backend": "SGLang"}))
    assert known.fleet.engine.tolist() == ["trtllm", "vllm", "sglang"]
    assert known.release[0].startswith("trtllm|")


def test_fractions_among_given_dimensions_stay_fractions():
    given = {"layers": "80", "hidden": "8192", "heads": "64", "ffn": "28672", "vocab": "128256", "index_kept": "0.25"}
    assert read(table({"model_path": "me/mine", **given})).fleet.model.index_kept[0] == 0.25


def test_what_is_no_number_costs_only_its_own_row():
    known = read(table({}, {"concurrency": "many"}, {"tp_size": "two"}))
    assert known.at.tolist() == [0]
    assert "'many' in column concurrency" in known.why[1]
    assert "'two' in column tp_size" in known.why[2]


def test_all_users_beginning_at_once_wait_longer_for_the_first_token_alone(learnt):
    at_once = {"silicon_data_source": "source_file=2026-04-06.csv; silicon_concurrency=64; measured=2026-01-02"}
    known = read(table(at_once))
    cold, warm = (learnt.physics.seconds(known.fleet, each) for each in (1.0, 0.3))
    assert known.cold[0] == 1
    assert cold[1] > 1.2 * warm[1]
    assert cold[0] == warm[0]


def test_no_release_before_2026_is_taken_to_draft():
    path = {"model_path": "deepseek-ai/DeepSeek-R1", "backend": "trtllm"}
    dates = ("2025-11-02", "2026-02-02")
    rows = table(*({**path, "silicon_data_source": f"mine; silicon_concurrency=16; measured={day}"} for day in dates))
    early, late = usual_shares(read(rows))
    assert early < 0.1 < late


def test_endings_that_say_a_precision_do_not_hide_the_model():
    paths = ("nvidia/Qwen3-32B-NVFP4", "nvidia/Llama-3.1-8B-Instruct-FP8", "nvidia/DeepSeek-R1-NVFP4")
    known = read(table(*({"model_path": path} for path in paths)))
    assert known.fleet.model.layers.tolist() == [64, 32, 61]
    assert known.family.tolist() == ["qwen3-32b", "llama-3.1-8b", "deepseek-v3"]


def test_a_model_never_seen_is_predicted_within_its_interval(learnt, published):
    llama = published.take(TABLE.groups(published, "model") == "llama-3.1-70b")
    measured, told = TABLE.measured(llama), learnt.predict(llama)
    for target, most in (("tpot_s", 0.15), ("ttft_s", 0.45)):
        known = np.isfinite(measured[target])
        off = np.abs(told[target].value / measured[target] - 1)[known]
        inside = (told[target].low <= measured[target]) & (measured[target] <= told[target].high)
        assert off.mean() < most
        assert inside[known].mean() > 0.85


def test_ten_rows_of_a_stack_bring_the_others_nearer(learnt, published):
    llama = published.take(TABLE.groups(published, "model") == "llama-3.1-70b")
    at = np.flatnonzero(columns_of(read(llama))["stack"] == "llama-3.1-70b|vllm|h200|fp8|together")
    own, rest = at[:: max(len(at) // 10, 1)][:10], np.setdiff1d(at, at[:: max(len(at) // 10, 1)][:10])
    measured = TABLE.measured(llama.take(rest))["ttft_s"]
    before = learnt.predict(llama.take(rest))["ttft_s"].value
    after = calibrated(learnt, llama.take(own)).predict(llama.take(rest))["ttft_s"].value
    assert np.nanmean(np.abs(after / measured - 1)) < np.nanmean(np.abs(before / measured - 1))


def test_one_row_of_ones_own_is_enough_to_be_moved(learnt):
    rows = table({"silicon_tpot_ms": "32", "silicon_ttft_ms": "500"})
    before, after = learnt.predict(rows), calibrated(learnt, rows).predict(rows)
    for target in TARGETS:
        assert after[target].value[0] > before[target].value[0]


def test_what_was_learnt_is_small_and_restored_from_json(learnt, published):
    body = json.dumps(learnt.to_dict())
    assert len(body) < 300_000
    again = TABLE.restore(json.loads(body)).predict(published)
    for target, told in learnt.predict(published).items():
        assert np.allclose(again[target].value, told.value, rtol=0.01, equal_nan=True)
        assert again[target].outside.tolist() == told.outside.tolist()
    with pytest.raises(CorruptError, match="fit it again"):
        TABLE.restore({"physics": {}})


def test_what_ships_holds_fitted_weights_and_no_row_that_was_measured(learnt):
    stacks = learnt.to_dict()["stacks"]
    assert set(stacks) == {"columns", "weights"}
    for target, one in learnt.stacks.items():
        kept = np.array(stacks["weights"][target]["at"]) * stacks["weights"][target]["step"]
        assert np.allclose(kept, one.weights, rtol=1e-2, atol=1e-2 * np.abs(one.weights).max())
        assert not np.allclose(kept, one.values, rtol=0.1)


def test_the_constant_that_is_off_least_in_percent_is_below_the_median_of_a_long_tail():
    errors = np.array([0.0, 0.1, 0.3, 1.5, 2.5, 3.0])
    tried = np.linspace(-1, 3, 4001)
    off = [np.abs(np.exp(each - errors) - 1).mean() for each in tried]
    assert least_off(errors, np.ones(6)) == pytest.approx(tried[int(np.argmin(off))], abs=1e-3)
    assert least_off(errors, np.ones(6)) < np.median(errors)


def test_a_stall_of_a_few_rows_of_ones_own_does_not_move_the_others(learnt):
    users = [str(4 * 2**at) for at in range(5)]
    ttft_ms = 1e3 * learnt.predict(table(*({"concurrency": each} for each in users)))["ttft_s"].value
    stalled = [
        {"concurrency": users[at], "silicon_ttft_ms": f"{ttft_ms[at] * (20 if at > 2 else 1)}"} for at in range(5)
    ]
    told = calibrated(learnt, table(*stalled)).predict(table({"concurrency": "8"}))["ttft_s"]
    assert 1e3 * told.value[0] == pytest.approx(ttft_ms[1], rel=0.5)


def test_predictions_of_others_are_never_read(published):
    rows = published.take(np.arange(0, len(published), 4))
    without = Rows({name: each for name, each in rows.columns.items() if not name.startswith("pred")}, rows.lines)
    told, alone = (TABLE.learn(each).predict(each)["tpot_s"].value for each in (rows, without))
    assert np.array_equal(told, alone, equal_nan=True)


def test_an_unknown_split_is_refused():
    with pytest.raises(BadInputError, match="framework"):
        TABLE.groups(table({}), "weather")
