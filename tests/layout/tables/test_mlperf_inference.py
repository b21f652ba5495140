"""MLPerf inference: rates by model, scenario and accelerator, and how wrong predictions of systems never seen are."""

import json

import numpy as np
import pytest

from bench.heldout import held_out, line_of
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.finding import kind_of
from pennyweight.layout.tables.mlperf_inference import SAMPLES, TABLE, TOKENS
from pennyweight.layout.tables.mlperf_served import ideal_rates


@pytest.fixture(scope="module")
def published(samples):
    return Rows.read(samples / "serving" / "mlperf_inference_v5.1.csv")


@pytest.fixture(scope="module")
def learnt(published):
    return TABLE.learn(published)


def asked(**changed):
    row = {
        "Submitter": "Somebody",
        "System": "a machine",
        "Model": "llama2-70b-99",
        "UsedModel": "llama2-70b-99",
        "Scenario": "Offline",
        "Nodes": "1",
        "Accelerator": "NVIDIA H200-SXM-141GB",
        "a#": "8",
        "Software": "TensorRT 10.11, CUDA 12.9",
        "weight_data_types": "fp8",
        "Performance_Result": "1",
        "Performance_Units": "Tokens/s",
        **changed,
    }
    return Rows({name: np.array([text], dtype=np.str_) for name, text in row.items()}, np.array([2]))


def rate(learnt, target=TOKENS, **changed):
    return float(learnt.predict(asked(**changed))[target].value[0])


def test_the_table_is_known_by_its_columns(published):
    assert kind_of(published) is TABLE


def test_tokens_and_samples_are_told_apart():
    assert TABLE.measured(asked(Performance_Units="Queries/s"))[TOKENS] == 1.0
    other = TABLE.measured(asked(Model="retinanet", Performance_Units="Queries/s"))
    assert np.isnan(other[TOKENS])
    assert other[SAMPLES] == 1.0
    assert np.isnan(TABLE.measured(asked(Performance_Units="Latency (ms)"))[TOKENS])


def test_tokens_of_systems_never_seen_are_predicted_within_a_tenth(published):
    found = held_out(TABLE, published, "system", folds=5)[TOKENS]
    line = line_of((TABLE.name, TOKENS, "system"), found, None)
    assert line.rows > 250
    assert line.mape < 0.12
    assert 0.85 <= line.covered <= 0.96


def test_rates_follow_count_scenario_and_accelerator(learnt):
    assert rate(learnt, Nodes="2") == pytest.approx(2 * rate(learnt), rel=0.2)
    assert rate(learnt, Scenario="Interactive") < rate(learnt)
    assert rate(learnt, Accelerator="NVIDIA B200-SXM-180GB", weight_data_types="fp4") > 2 * rate(learnt)
    assert rate(learnt, SAMPLES, Model="whisper", weight_data_types="fp16") > 10_000


def test_the_precision_is_that_of_the_model_used_where_none_is_stated(learnt):
    unset = rate(learnt, weight_data_types="UNSET", UsedModel="llama2-70b-fp8_quark")
    assert unset == pytest.approx(rate(learnt, UsedModel="llama2-70b-fp8_quark"))


def test_reading_weights_and_the_cache_makes_the_ideal_less_than_the_peak():
    few, many = asked(Accelerator="NVIDIA L40S", **{"a#": "2"}), asked(Accelerator="NVIDIA L40S")
    assert ideal_rates(many)[0] > 4 * ideal_rates(few)[0]  # what fits beside the weights batches more


def test_a_model_never_measured_is_counted_from_the_catalog(learnt):
    forecast = learnt.predict(asked(Model="qwen3-32b", UsedModel="qwen3-32b"))[TOKENS]
    assert 1_000 < forecast.value[0] < 1_000_000
    assert "nothing measured with model qwen3-32b" in forecast.outside[0]
    assert forecast.high[0] / forecast.low[0] > 2


@pytest.mark.parametrize(
    ("changed", "said"), [({"a#": "0"}, "number of accelerators"), ({"Accelerator": ""}, "no acc")]
)
def test_a_row_without_accelerators_says_why(learnt, changed, said):
    forecast = learnt.predict(asked(**changed))[TOKENS]
    assert np.isnan(forecast.value[0])
    assert said in forecast.outside[0]


def test_what_is_kept_predicts_the_same(learnt, published):
    text = json.dumps(learnt.to_dict())
    assert len(text) < 300_000
    again = TABLE.restore(json.loads(text))
    one, other = learnt.predict(published)[TOKENS], again.predict(published)[TOKENS]
    np.testing.assert_allclose(one.value, other.value, rtol=2e-3)
