"""Tables scored as they come: rows that cannot be, are not measured or are nonsense cost no other row its answer."""

import csv
import io
import math
import time

import numpy as np
import pytest

from pennyweight.errors import BadInputError
from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.score import FIELDS, score
from pennyweight.layout.tables.finding import tables
from pennyweight.layout.tables.table import Forecast

HEAD = ("model", "accelerator", "devices", "tp", "pp", "micro_batch", "global_batch", "sequence", "step_s")
GOOD = ("llama-3-8b", "h100", "8", "2", "1", "1", "128", "8192", "9.0")


def table(*changes):
    lines = [{**dict(zip(HEAD, GOOD, strict=True)), **change} for change in changes]
    names = {name: None for line in lines for name in line}
    columns = {name: np.array([line.get(name, "") for line in lines], dtype=np.str_) for name in names}
    return Rows(columns, np.arange(2, 2 + len(lines)))


def first(scored):
    return scored.targets[0]


def test_every_row_has_a_prediction_inside_its_interval():
    scored = score(table({}, {"model": "llama-3-70b", "devices": "64", "tp": "8"}))
    forecast = first(scored).forecast
    assert (forecast.low < forecast.value).all()
    assert (forecast.value < forecast.high).all()
    assert scored.kind == "own_steps"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nonsense"}, "no model named 'nonsense'"),
        ({"accelerator": "h1000"}, "h100"),
        ({"tp": "many"}, "'many' in column tp is no number"),
        ({"tp": "-2"}, "tp is -2: no count is"),
        ({"sequence": "inf"}, "sequence is inf"),
        ({"devices": ""}, "does not say its devices"),
        ({"tp": "3"}, "8 devices are not"),
        ({"precision": "bf12"}, "bf16"),
        ({"accelerator": ""}, "does not say its accelerator"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why_and_costs_no_other_its_answer(change, said):
    alone, scored = score(table({}, {})), score(table({}, change, {}))
    value = first(scored).forecast.value
    assert np.isnan(value[1])
    assert said in scored.notes[1]
    np.testing.assert_allclose(value[[0, 2]], first(alone).forecast.value)
    assert first(scored).summary()["answered"] == pytest.approx(2 / 3)
    assert not scored.notes[0]


def test_a_table_of_which_no_row_can_be_predicted_is_refused_with_the_first_reason():
    with pytest.raises(BadInputError, match=r"No row .* 'nonsense'"):
        score(table({"model": "nonsense"}, {"tp": "-1"}))


@pytest.mark.parametrize("found", ["", "nan", "0", "-3", "inf", "slow"])
def test_what_is_no_measurement_is_left_out_of_the_error(found):
    scored = score(table({}, {"step_s": found}))
    target = first(scored)
    assert np.isfinite(target.forecast.value).all()
    assert target.summary()["rows"] == 1
    assert math.isfinite(target.summary()["mape"])
    assert bool(scored.notes[1]) == (found not in {"", "nan"})


def test_without_measurements_there_are_predictions_and_no_error():
    rows = table({}, {})
    asked = Rows({name: column for name, column in rows.columns.items() if name != "step_s"}, rows.lines)
    summary = first(score(asked)).summary()
    assert summary == {"predicted": 2, "rows": 0}
    np.testing.assert_allclose(first(score(asked)).forecast.value, first(score(rows)).forecast.value)


def test_columns_that_nobody_knows_change_nothing():
    plain, more = score(table({})), score(table({"remark": "on a Monday", "": "x"}))
    np.testing.assert_allclose(first(plain).forecast.value, first(more).forecast.value)


def test_a_stated_number_of_devices_that_the_layout_contradicts_is_said_beside_the_answer(samples):
    rows = Rows.read(samples / "training" / "train_vtrain_a100.csv").take(np.arange(4))
    odd = rows.columns["n_gpus"].copy()
    odd[1] = "7"
    scored = score(Rows({**rows.columns, "n_gpus": odd}, rows.lines))
    assert "n_gpus is 7, but tp · pp · dp is" in first(scored).forecast.outside[1]
    assert np.isfinite(first(scored).forecast.value).all()


class Grumpy:
    """Predicts ones, but refuses every table with an unlucky row."""

    def __init__(self, unlucky):
        self.unlucky, self.calls = unlucky, 0

    def predict(self, rows):
        self.calls += 1
        if set(rows.lines.tolist()) & self.unlucky:
            raise BadInputError("This row is unlucky.", "leave it out.")
        one = np.ones(len(rows))
        return {"step_time_s": Forecast(one, one, one, np.full(len(rows), ""))}


def test_rows_that_make_a_whole_table_fail_are_found_in_few_tries():
    grumpy = Grumpy({5, 77, 1500})
    scored = score(table(*[{}] * 3000), grumpy)
    wrong = np.flatnonzero(np.isnan(first(scored).forecast.value))
    assert (wrong + 2).tolist() == [5, 77, 1500]
    assert set(scored.notes[wrong].tolist()) == {"This row is unlucky. Leave it out."}
    assert grumpy.calls < 100


def test_a_table_full_of_failures_ends():
    grumpy = Grumpy(set(range(2, 4000, 2)))
    scored = score(table(*[{}] * 3000), grumpy)
    assert np.isnan(first(scored).forecast.value[::2]).all()
    assert np.char.str_len(scored.notes).astype(bool).sum() >= 1500
    assert grumpy.calls < 1000


def test_the_file_has_a_line_for_each_answer_and_for_each_row_that_has_none():
    scored = score(table({}, {"model": "nonsense"}, {"step_s": ""}))
    found = list(csv.DictReader(io.StringIO(scored.text())))
    assert tuple(found[0]) == FIELDS
    assert [row["line"] for row in found] == ["2", "3", "4"]
    assert float(found[0]["low"]) < float(found[0]["predicted"]) < float(found[0]["high"])
    assert not found[1]["predicted"]
    assert "nonsense" in found[1]["note"]
    assert not found[2]["measured"]


def test_the_error_is_the_mean_of_the_rows_told():
    rows = table({}, {"step_s": "18.0"})
    value = first(score(rows)).forecast.value
    summary = first(score(rows)).summary()
    assert summary["mape"] == pytest.approx(np.mean(np.abs(value / np.array([9.0, 18.0]) - 1)))
    assert summary["covered"] in {0.0, 0.5, 1.0}


def test_a_hundred_thousand_rows_take_seconds():
    rows = table({}, {"devices": "16"}, {"precision": "fp8"})
    many = rows.take(np.arange(100_000) % 3)
    began = time.process_time()
    scored = score(many)
    text = scored.text()
    assert time.process_time() - began < 20  # beside other tests; 6 alone
    assert text.count("\n") == 100_001


WORDS = ("", "abc", "-1", "0", "1e30", "nan", "inf", "1.5")


@pytest.mark.parametrize("kind", ["vtrain", "nemo", "mpt", "mlperf_training", "tpu", "bigscience", "energy_serving"])
def test_no_field_of_a_published_table_however_wrong_ends_in_a_fault(kind, samples):
    from bench.fit import rows_of

    rows = rows_of(tables()[kind], samples)
    rows = rows.take(np.linspace(0, len(rows) - 1, 6).astype(int))
    plain = first(score(rows)).forecast.value
    others = np.arange(6) != 3
    for name, column in rows.columns.items():
        for word in WORDS:
            changed = column.astype(object)
            changed[3] = word
            scored = score(Rows({**rows.columns, name: changed.astype(np.str_)}, rows.lines))
            np.testing.assert_allclose(first(scored).forecast.value[others], plain[others], rtol=1e-9)
