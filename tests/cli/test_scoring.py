"""`pennyweight score` as a user meets it: real processes and files."""

import csv
import json

import pytest
from processes import call

HEAD = "model,accelerator,devices,tp,micro_batch,global_batch,sequence,precision,step_s\n"
ROWS = "llama-3-8b,h100,8,1,1,128,8192,bf16,12\nllama-3-70b,h100,64,8,1,128,8192,bf16,15\n"


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "steps.csv").write_text(HEAD + ROWS)
    return tmp_path


def test_a_table_is_scored_with_its_worst_rows(steps):
    code, out, err = call(steps, "score", "steps.csv")
    assert code == 0, err
    for word in ("own_steps", "step_time_s", "100.0%", "Furthest off", "Every row: --output"):
        assert word in out


def test_every_row_is_written_with_its_interval(steps):
    code, out, err = call(steps, "score", "steps.csv", "--output", "found.csv")
    assert code == 0, err
    assert "Every row is in found.csv" in out
    rows = list(csv.DictReader((steps / "found.csv").read_text().splitlines()))
    assert [row["line"] for row in rows] == ["2", "3"]
    for row in rows:
        assert float(row["low"]) < float(row["predicted"]) < float(row["high"])
        assert row["unit"] == "s"
    assert float(rows[1]["measured"]) == 15


def test_json_is_one_object_with_every_row(steps):
    code, out, _ = call(steps, "score", "steps.csv", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["kind"] == "own_steps"
    assert facts["targets"]["step_time_s"]["answered"] == 1
    assert facts["targets"]["step_time_s"]["mape"] > 0
    assert len(facts["rows"]) == 2


def test_rows_that_cannot_be_predicted_are_counted_and_the_first_says_why(steps):
    (steps / "steps.csv").write_text(HEAD + ROWS + ROWS.replace("llama-3", "nonsense") + "\n,,,,,,,,\n")
    code, out, _ = call(steps, "score", "steps.csv")
    assert code == 0
    assert "50.0%" in out
    assert "Not predicted: line 4 and 1 more. There is no model named 'nonsense-8b'" in out


def test_a_table_without_measurements_has_predictions_and_no_error(steps):
    (steps / "steps.csv").write_text((HEAD + ROWS).replace(",step_s", "").replace(",12\n", "\n").replace(",15\n", "\n"))
    code, out, err = call(steps, "score", "steps.csv")
    assert code == 0, err
    assert "own_steps" in out
    assert "Furthest off" not in out


@pytest.mark.parametrize(
    ("body", "words", "said"),
    [
        ("a,b\n1,2\n", (), "the nearest is"),
        (HEAD, (), "has no rows"),
        (HEAD + ROWS.replace("llama", "x"), (), "No row of the table can be predicted"),
        (HEAD + ROWS, ("--kind", "own_step"), "own_steps"),
        (HEAD + ROWS, ("--calibration", "nowhere.toml"), "cannot be read"),
        (HEAD + ROWS, ("--output", "home"), "is a folder"),
        (HEAD + ROWS + "one,two\n", (), "line 4"),
    ],
)
def test_what_cannot_be_done_is_one_message_with_its_fix(steps, body, words, said):
    (steps / "steps.csv").write_text(body)
    (steps / "home").mkdir(exist_ok=True)
    code, out, err = call(steps, "score", "steps.csv", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "To fix:" in err
