"""Tables as they come: columns missing, cells empty or odd, names nobody knows: rows that can be answered are."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.asking import ask, measured
from pennyweight.layout.tables.finding import completed, shipped, tables

FILES = {
    "vtrain": "training/train_vtrain_a100.csv",
    "megatron_published": "training/train_megatron_published.csv",
    "mpt": "training/train_llmfoundry_mpt.csv",
    "nemo": "training/train_nvidia_nemo_megatron_bridge.csv",
    "mlperf_training": "training/mlperf_training_v5.0.csv",
    "tpu": "training/train_tpu_recipes.csv",
    "megatron_ci_golden": "training/train_megatron_ci_golden.csv",
    "memory_korthikanti": "training/train_memory_korthikanti.csv",
    "bigscience": "training/train_bigscience.csv",
    "mlperf_inference": "serving/mlperf_inference_v5.1.csv",
    "energy_serving": "energy/serving_energy_mlenergy_v3.csv",
}
SOME = 12  # rows of each table
ODD = ["", "n/a", "-", "0", "-1", "1e300", "nan", "inf", "many", "ünïcödé 70B", "7.5", "None", "x" * 300]
# What a model and a device are called in each table, and names nobody gave them yet.
MODELS = {"nemo": "model", "tpu": "model", "mlperf_inference": "Model", "mlperf_training": "benchmark"}
MODELS |= {"energy_serving": "model_id", "memory_korthikanti": "model", "mpt": "model"}
NEW_MODELS = ["Qwen4-80B-A5B", "Llama-5-200B", "Frobnicator-33B"]
DEVICES = {"nemo": "system", "tpu": "chip", "mlperf_inference": "Accelerator", "mlperf_training": "accelerator"}
DEVICES |= {"energy_serving": "gpu_model", "mpt": "gpu", "megatron_published": "gpu"}
NEW_DEVICES = ["NVIDIA GB400", "AMD Instinct MI400X", "TPU v8", "NVIDIA RTX 6001 Ada", "DGX-B300"]
# Columns that say what was measured, or follow from it.
OUTCOMES = {"step_time_ms", "step_time_s_reported", "step_time_s_derived", "tflops_per_gpu_reported", "mem", "value"}
OUTCOMES |= {"pct_peak_reported", "mfu_pct_reported", "hfu_pct_reported", "mfu_pct", "hfu_pct", "samples_per_s"}
OUTCOMES |= {"model_tflops_per_gpu", "tokens_per_s", "tokens_per_s_gpu", "tokens_per_s_chip", "tflops_per_chip"}
OUTCOMES |= {"step_time_s", "time_to_train_s", "train_step_time_median_s", "throughput_samples_s_median", "result"}
OUTCOMES |= {"Performance_Result", "Power_Result", "Accuracy", "energy_per_token_joules", "avg_power_watts"}
OUTCOMES |= {"median_itl_ms", "output_throughput_tokens_per_sec", "avg_batch_size", "tflops_per_gpu", "step_s"}
EVERY = sorted(FILES)


@pytest.fixture(scope="module")
def published(samples):
    """Some rows of every table, from all over it; of energy, those that make tokens."""
    found = {}
    for name, path in FILES.items():
        rows = Rows.read(samples / path)
        if name == "energy_serving":
            rows = rows.take(rows.number("energy_per_token_joules") > 0)
        found[name] = rows.take(np.linspace(0, len(rows) - 1, SOME).astype(int))
    return found


@pytest.fixture(scope="module")
def answers(published):
    return {name: ask(shipped(name), rows).forecasts for name, rows in published.items()}


def having(rows, column, values):
    """The rows with other values in a column."""
    return Rows({**rows.columns, column: np.array(values)}, rows.lines)


def answered(name, rows):
    """Which rows get a number of any target; every other one has a sentence, and every number an interval."""
    try:
        found = ask(shipped(name), completed(rows, tables()[name]))
    except BadInputError:  # which says why, by its nature
        return np.zeros(len(rows), dtype=bool)
    known = np.any([np.isfinite(each.value) for each in found.forecasts.values()], axis=0)
    assert (np.char.str_len(found.notes)[~known] > 5).all()
    for each in found.forecasts.values():
        told = np.isfinite(each.value)
        assert (each.low[told] <= each.value[told]).all()
        assert (each.value[told] <= each.high[told]).all()
        assert (each.value[told] > 0).all()
    return known


@pytest.mark.parametrize("name", EVERY)
def test_rows_as_published_are_all_answered(name, published):
    assert answered(name, published[name]).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_answer_is_not_among_what_is_asked(name, published, answers):
    rows = published[name]
    blind = {column: np.full(len(rows), "") for column in rows.columns if column in OUTCOMES or "mem_" in column}
    assert blind
    for target, each in ask(shipped(name), Rows({**rows.columns, **blind}, rows.lines)).forecasts.items():
        np.testing.assert_array_equal(each.value, answers[name][target].value)


@pytest.mark.parametrize("name", EVERY)
def test_no_odd_cell_costs_another_row_its_answer(name, published, answers):
    rows, kind = published[name], tables()[name]
    for at, column in enumerate(sorted(rows.columns)):
        values = rows.columns[column].tolist()
        values[0] = ODD[at % len(ODD)]
        found = ask(shipped(name), having(rows, column, values)).forecasts
        measured(kind, having(rows, column, values))
        for target, each in found.items():
            np.testing.assert_allclose(each.value[1:], answers[name][target].value[1:], rtol=1e-9, err_msg=column)


@pytest.mark.parametrize("name", EVERY)
def test_without_any_one_column_nothing_breaks(name, published):
    rows, left = published[name], 0
    for column in rows.columns:
        fewer = Rows({other: each for other, each in rows.columns.items() if other != column}, rows.lines)
        left += int(answered(name, fewer).any())
    assert left > 0.6 * len(rows.columns)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models_nobody_described_are_answered_less_surely_and_it_is_said(name, published, answers):
    rows = published[name]
    for model in NEW_MODELS:
        changed = having(rows, MODELS[name], [model] * len(rows))
        assert answered(name, changed).all()
        found = ask(shipped(name), changed).forecasts
        if name in {"mpt", "energy_serving"}:  # whose rows say the dimensions themselves, or the parameters
            continue
        told = [each for each in found.values() if np.isfinite(each.value).any()]
        assert told
        for each in told:
            assert (np.char.str_len(each.outside[np.isfinite(each.value)]) > 0).all()


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_devices_nobody_listed_are_answered_and_it_is_said(name, published):
    rows = published[name]
    for device in NEW_DEVICES[:-1]:
        changed = having(rows, DEVICES[name], [device] * len(rows))
        assert answered(name, changed).all()
        for each in ask(shipped(name), changed).forecasts.values():
            told = np.isfinite(each.value)
            assert all("stands in for" in text for text in each.outside[told])


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_other_spellings_of_a_device_are_the_same_device(name, published, answers):
    rows = published[name]
    texts = [each.lower().replace("_", " ") for each in rows.text(DEVICES[name]).tolist()]
    for target, each in ask(shipped(name), having(rows, DEVICES[name], texts)).forecasts.items():
        np.testing.assert_allclose(each.value, answers[name][target].value, rtol=0.1, err_msg=name)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_cells_whatever_are_answered_or_refused_with_a_sentence(data, published):
    name = data.draw(st.sampled_from(EVERY))
    rows = published[name].take(np.arange(4))
    for _ in range(data.draw(st.integers(1, 4))):
        column = data.draw(st.sampled_from(sorted(rows.columns)))
        values = rows.columns[column].tolist()
        values[data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(ODD) | st.text(max_size=20))
        rows = having(rows, column, values)
    try:
        answered(name, rows)
        measured(tables()[name], rows)
    except PennyweightError as error:
        pytest.fail(f"{name} refuses everything: {error}")
