"""Energy of serving: what a user knows is enough, what was measured is never looked at, and unseen models are close."""

import json

import numpy as np
import pytest

from bench.heldout import held_out, line_of
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.energy.watts import ITL, JOULE, POWER, TOKENS
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.energy_serving import TABLE, measured_batch
from pennyweight.layout.tables.finding import kind_of

OUTCOMES = (
    "avg_batch_size",
    "avg_power_watts",
    "energy_per_request_joules",
    "energy_per_token_joules",
    "median_itl_ms",
    "p90_itl_ms",
    "p95_itl_ms",
    "p99_itl_ms",
    "output_throughput_tokens_per_sec",
)
UNSEEN = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(scope="module")
def rows(samples):
    return Rows.read(samples / "energy" / "serving_energy_mlenergy_v3.csv")


@pytest.fixture(scope="module")
def split(rows):
    served = rows.take(rows.number("energy_per_token_joules") > 0)
    unseen = served.text("model_id") == UNSEEN
    return TABLE.learn(served.take(~unseen)), served.take(unseen)


def test_the_table_is_known_by_its_columns(rows):
    assert kind_of(rows) is TABLE


def test_joules_of_models_never_seen_are_within_a_tenth_and_intervals_hold(rows):
    served = rows.take(rows.number("energy_per_token_joules") > 0)
    line = line_of(("", JOULE, "model"), held_out(TABLE, served, "model", 5)[JOULE], 0.1)
    assert line.rows > 500
    assert line.mape <= 0.1
    assert 0.85 <= line.covered <= 0.95


def test_joules_of_a_model_never_seen_are_close(split):
    learnt, asked = split
    told, measured = learnt.predict(asked), TABLE.measured(asked)
    off = np.abs(told[JOULE].value / measured[JOULE] - 1)
    assert off.mean() < 0.12
    inside = (told[JOULE].low <= measured[JOULE]) & (measured[JOULE] <= told[JOULE].high)
    assert inside.mean() > 0.8


def test_nothing_that_was_measured_is_looked_at(split):
    learnt, asked = split
    blind = Rows({**asked.columns, **{name: np.full(len(asked), "") for name in OUTCOMES}}, asked.lines)
    for name, told in learnt.predict(asked).items():
        np.testing.assert_array_equal(learnt.predict(blind)[name].value, told.value)


def test_the_variant_that_is_told_the_batch_does_look_at_it(split):
    _, asked = split
    changed = Rows({**asked.columns, "avg_batch_size": np.full(len(asked), "8")}, asked.lines)
    learnt = measured_batch().restore({**split[0].to_dict(), "batch": "avg_batch_size"})
    assert not np.array_equal(learnt.predict(asked)[JOULE].value, learnt.predict(changed)[JOULE].value)


def test_watts_are_joules_per_token_times_tokens_per_second(split):
    told = split[0].predict(split[1])
    np.testing.assert_allclose(told[POWER].value, told[JOULE].value * told[TOKENS].value)
    assert (told[ITL].value > 0).all()


def test_images_and_videos_are_outside(rows, split):
    pictures = rows.take(rows.text("task") == "text-to-image")
    told = split[0].predict(pictures)[JOULE]
    assert np.isnan(told.value).all()
    assert set(told.outside) == {"It makes images or videos, and no tokens."}
    assert np.isnan(TABLE.measured(pictures)[JOULE]).all()


def test_a_device_nobody_measured_is_answered_widely_and_said_to_be_outside(split):
    learnt, asked = split
    other = Rows({**asked.columns, "gpu_model": np.full(len(asked), "L4")}, asked.lines)
    near, far = learnt.predict(asked)[JOULE], learnt.predict(other)[JOULE]
    assert all("nearest measured row" in each for each in far.outside)
    assert (far.high / far.low > near.high / near.low).all()


def test_a_row_that_lacks_what_is_needed_is_said(split):
    learnt, asked = split
    broken = Rows({**asked.columns, "num_gpus": np.full(len(asked), "0")}, asked.lines)
    told = learnt.predict(broken)[JOULE]
    assert np.isnan(told.value).all()
    assert set(told.outside) == {"It has no num_gpus."}


def test_what_follows_from_the_rest_of_a_row_is_filled_in_and_said(split):
    learnt, asked = split
    blank = np.full(len(asked), "")
    sizes = {"total_params_billions": blank, "activated_params_billions": blank}
    for columns, said in (({"weight_precision": np.full(len(asked), "fp9")}, "bf16"), (sizes, "billions is taken as")):
        told = learnt.predict(Rows({**asked.columns, **columns}, asked.lines))[JOULE]
        known = learnt.predict(asked)[JOULE]
        assert np.isfinite(told.value).all()
        assert all(said in each for each in told.outside)
        assert (told.high / told.low > known.high / known.low).mean() > 0.9
    exact = learnt.predict(Rows({**asked.columns, **sizes}, asked.lines))[JOULE]
    np.testing.assert_allclose(exact.value, learnt.predict(asked)[JOULE].value, rtol=0.1)


def test_what_is_learned_is_kept_and_read_again(split):
    learnt, asked = split
    again = TABLE.restore(json.loads(json.dumps(learnt.to_dict())))
    for name, told in learnt.predict(asked).items():
        np.testing.assert_allclose(again.predict(asked)[name].value, told.value, rtol=1e-4)
    with pytest.raises(CorruptError, match="fit it again"):
        TABLE.restore({"batch": "max_num_seqs"})


def test_groups_are_models_architectures_and_devices(rows):
    served = rows.take(rows.number("energy_per_token_joules") > 0)
    models, sizes = TABLE.groups(served, "model"), TABLE.groups(served, "architecture")
    assert len(np.unique(models)) > len(np.unique(sizes)) > len(np.unique(TABLE.groups(served, "gpu"))) == 2


def test_rows_of_one_model_alone_are_refused(split):
    with pytest.raises(BadInputError, match="two models"):
        TABLE.learn(split[1])
