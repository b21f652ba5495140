"""`pennyweight calibrate SOURCE` as a user meets it: real processes and files."""

import json
from pathlib import Path

import pytest
from processes import call

EXAMPLE = (Path(__file__).parents[2] / "recipes" / "steps.csv").read_text()
SERVED = (
    "model,accelerator,engine,precision,tp,concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s\n"
    "qwen3-32b,h100,vllm,fp8,2,16,1024,1024,0.2,0.02\nqwen3-32b,h100,vllm,fp8,2,64,1024,1024,0.5,0.03\n"
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "steps.csv").write_text(EXAMPLE)
    (tmp_path / "served.csv").write_text(SERVED)
    return tmp_path


def error(place, *words):
    code, out, err = call(place, "score", "steps.csv", "--json", *words)
    assert code == 0, err
    return json.loads(out)["targets"]["step_time_s"]


def test_steps_of_ones_own_move_predictions_and_a_misfit_is_named(place):
    code, out, err = call(place, "calibrate", "steps.csv", "-o", "mine.toml")
    assert code == 0, err
    assert "Misfits of step_time_s, which differ too much from the others: line 9." in out
    assert "Kept in mine.toml; use it with --calibration mine.toml." in out
    before, after = error(place), error(place, "--calibration", "mine.toml")
    assert after["median"] < before["median"] / 2


def test_another_kind_is_added_to_the_file_and_the_same_kind_replaces(place):
    for source in ("steps.csv", "served.csv", "steps.csv"):
        code, _, err = call(place, "calibrate", source, "-o", "mine.toml")
        assert code == 0, err
    text = (place / "mine.toml").read_text()
    assert text.count("[own_steps]") == text.count("[own_serving]") == 1
    assert "2 rows of own_serving kept" in call(place, "calibrate", "served.csv", "-o", "mine.toml")[1]


def test_json_holds_factor_interval_and_lines(place):
    code, out, _ = call(place, "calibrate", "steps.csv", "-o", "mine.toml", "--json")
    facts = json.loads(out)
    low, high = facts["targets"]["step_time_s"]["interval"]
    assert code == 0
    assert facts["rows"] == 9
    assert facts["misfits"] == {"step_time_s": [9]}
    assert 1.05 < facts["targets"]["step_time_s"]["factor"] < 1.2
    assert low < 1 < high


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.csv",), "cannot be read"),
        (("ledger.db",), "is a ledger"),
        (("steps.csv", "-o", "steps.csv"), "is not TOML"),
        (("steps.csv", "--kind", "serving"), "which also needs"),
        (("steps.csv", "-o", "."), "is a folder"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_nothing_is_written(place, words, said):
    (place / "ledger.db").write_bytes(b"SQLite format 3\x00" + bytes(100))
    code, out, err = call(place, "calibrate", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not (place / "mine.toml").exists()
    assert (place / "steps.csv").read_text() == EXAMPLE
