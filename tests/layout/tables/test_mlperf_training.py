"""MLPerf training: what is measured, which system is which, and how wrong predictions of systems never seen are."""

import json

import numpy as np
import pytest

from bench.heldout import line_of
from pennyweight.errors import CorruptError
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.finding import kind_of
from pennyweight.layout.tables.mlperf_columns import alike, families, ideal_s
from pennyweight.layout.tables.mlperf_training import STEP, TABLE, TRAIN


@pytest.fixture(scope="module")
def published(samples):
    return Rows.read(samples / "training" / "mlperf_training_v5.0.csv")


@pytest.fixture(scope="module")
def learnt(published):
    return TABLE.learn(published)


def asked(**changed):
    row = {
        "org": "Somebody",
        "system": "1xANYTHING",
        "submission_platform": "1xANYTHING",
        "benchmark": "llama2_70b_lora",
        "status": "success",
        "accelerator": "NVIDIA H200-SXM5-141GB",
        "n_accel": "8",
        "global_batch_size": "8",
        "train_step_time_median_s": "",
        "throughput_samples_s_median": "",
        "time_to_train_s": "",
        **changed,
    }
    return Rows({name: np.array([text], dtype=np.str_) for name, text in row.items()}, np.array([2]))


def test_the_table_is_known_by_its_columns(published):
    assert kind_of(published) is TABLE


def test_a_step_is_as_stated_or_follows_from_the_throughput():
    stated = asked(train_step_time_median_s="1.5", throughput_samples_s_median="4")
    assert TABLE.measured(stated)[STEP] == 1.5
    assert TABLE.measured(asked(throughput_samples_s_median="4"))[STEP] == 2.0
    assert np.isnan(TABLE.measured(asked())[STEP])


def test_the_throughput_of_one_accelerator_is_told_from_that_of_all():
    facts = {"benchmark": "retinanet", "global_batch_size": "256"}
    one = asked(**facts, throughput_samples_s_median="300", time_to_train_s="2040")
    both = asked(**facts, throughput_samples_s_median="2400", time_to_train_s="2040")
    assert TABLE.measured(one)[STEP] == pytest.approx(TABLE.measured(both)[STEP])


def test_a_run_that_did_not_end_well_has_no_time_to_train():
    assert TABLE.measured(asked(time_to_train_s="100"))[TRAIN] == 100.0
    assert np.isnan(TABLE.measured(asked(time_to_train_s="100", status="aborted"))[TRAIN])


def test_all_sizes_of_a_machine_are_one_family(published):
    found = set(families(published))
    assert {"Dell XE9712x4GB200", "NVIDIA tyche", "Oracle BM.GPU.H200.8"} <= found
    assert len(found) < len(set(TABLE.groups(published, "system")))


def test_a_system_never_seen_is_predicted_within_a_tenth(published, held_out_once):
    found = held_out_once(TABLE, published, "system", 5)[STEP]
    line = line_of((TABLE.name, STEP, "system"), found, None)
    assert line.rows > 1000
    assert line.mape < 0.05
    assert 0.85 <= line.covered <= 0.96
    assert line.width < 1.4


def test_a_benchmark_never_measured_is_counted_and_said_to_be_new(learnt):
    large = asked(benchmark="llama31_405b", accelerator="NVIDIA Blackwell GPU (GB200)", n_accel="256")
    forecast = learnt.predict(large)[STEP]
    assert "nothing measured with benchmark llama31_405b" in forecast.outside[0]
    used = ideal_s(large)[0] / forecast.value[0]  # of the peak in 16 bits, computed in eight
    assert 0.4 < used < 1.0
    assert forecast.high[0] / forecast.low[0] > 1.5


def test_a_benchmark_nobody_listed_is_answered_with_a_wide_interval(learnt):
    forecast = learnt.predict(asked(benchmark="flux1"))[STEP]
    assert forecast.value[0] > 0
    assert forecast.high[0] / forecast.low[0] > 5
    assert alike(asked(benchmark="flux1"))["kind"] == "not listed"


def test_an_accelerator_that_the_catalog_does_not_have_is_no_guess(learnt):
    forecast = learnt.predict(asked(accelerator="NVIDIA Q9999"))[STEP]
    assert np.isnan(forecast.value[0])
    assert "no accelerator named" in forecast.outside[0]


def test_a_row_without_a_batch_says_so(learnt):
    forecast = learnt.predict(asked(global_batch_size=""))[TRAIN]
    assert np.isnan(forecast.value[0])
    assert "global batch, is not stated" in forecast.outside[0]


def test_a_similar_system_is_not_outside(learnt):
    assert not learnt.predict(asked())[STEP].outside[0]


def test_what_is_kept_predicts_the_same(learnt, published):
    text = json.dumps(learnt.to_dict())
    assert len(text) < 300_000
    again = TABLE.restore(json.loads(text))
    some = published.take(np.arange(0, len(published), 50))
    for target in (STEP, TRAIN):
        one, other = learnt.predict(some)[target], again.predict(some)[target]
        np.testing.assert_allclose(one.value, other.value, rtol=1e-3)
        np.testing.assert_allclose(one.high, other.high, rtol=5e-3)


def test_what_was_not_kept_by_it_is_refused():
    with pytest.raises(CorruptError, match="fit them again"):
        TABLE.restore({"step": {}})
