"""TPU recipes: models by catalog or by name, and how wrong predictions of models never seen are."""

import json

import numpy as np
import pytest

from bench.heldout import held_out, line_of
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables.finding import kind_of
from pennyweight.layout.tables.tpu import STEP, TABLE


@pytest.fixture(scope="module")
def recipes(samples):
    return Rows.read(samples / "training" / "train_tpu_recipes.csv")


@pytest.fixture(scope="module")
def learnt(recipes):
    return TABLE.learn(recipes)


def asked(**changed):
    row = {
        "model": "Llama3.1-70B-MaxText",
        "chip": "TPU trillium",
        "variant": "",
        "n_chips_from_path": "256",
        "n_chips_derived": "256",
        "step_time_s": "",
        "tokens_per_step": "8388608",
        "gbs": "",
        "seq_len": "",
        "precision": "",
        **changed,
    }
    return Rows({name: np.array([text], dtype=np.str_) for name, text in row.items()}, np.array([2]))


def step(learnt, **changed):
    return float(learnt.predict(asked(**changed))[STEP].value[0])


def test_the_table_is_known_by_its_columns(recipes):
    assert kind_of(recipes) is TABLE


def test_models_never_seen_are_predicted_within_a_fifth(recipes):
    line = line_of((TABLE.name, STEP, "model"), held_out(TABLE, recipes, "model")[STEP], None)
    assert line.rows == len(recipes)
    assert line.mape < 0.2
    assert line.covered >= 0.85


def test_steps_follow_tokens_chips_and_precision(learnt):
    assert step(learnt, tokens_per_step="16777216") == pytest.approx(2 * step(learnt))
    assert step(learnt, n_chips_derived="512") < 0.7 * step(learnt)
    assert step(learnt, variant="fp8") < step(learnt)


def test_tokens_are_batch_times_length_where_they_are_not_stated(learnt):
    counted = step(learnt, tokens_per_step="", gbs="1024", seq_len="8192")
    assert counted == pytest.approx(step(learnt, seq_len="8192"))


def test_one_model_is_one_group_whatever_it_is_called():
    names = {str(TABLE.groups(asked(model=name), "model")[0]) for name in ("Llama3.1-70B-MaxText", "llama3.1-70b")}
    assert len(names) == 1


@pytest.mark.parametrize(("name", "same"), [("strange-70b", "other-70b"), ("odd-400b-a22b", "some-400b-a22b")])
def test_a_model_that_the_catalog_does_not_have_is_read_from_its_name(learnt, name, same):
    assert step(learnt, model=name) == pytest.approx(step(learnt, model=same))
    forecast = learnt.predict(asked(model=name))[STEP]
    known = learnt.predict(asked())[STEP]
    assert forecast.high[0] / forecast.low[0] > known.high[0] / known.low[0]
    assert "nothing measured with model" in forecast.outside[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "strange"}, "says no family or size"),
        ({"tokens_per_step": ""}, "are not stated"),
        ({"chip": "abacus"}, "no accelerator named"),
    ],
)
def test_what_cannot_be_counted_says_why(learnt, changed, said):
    forecast = learnt.predict(asked(**changed))[STEP]
    assert np.isnan(forecast.value[0])
    assert said in forecast.outside[0]


def test_what_is_kept_predicts_the_same(learnt, recipes):
    again = TABLE.restore(json.loads(json.dumps(learnt.to_dict())))
    one, other = learnt.predict(recipes)[STEP], again.predict(recipes)[STEP]
    np.testing.assert_allclose(one.value, other.value, rtol=1e-3)
