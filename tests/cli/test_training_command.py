"""`pennyweight train` as a user meets it: floors, budgets, interruptions, workers, and what is left afterwards."""

import json
import signal
import sqlite3
from pathlib import Path

import pytest
from processes import RECIPE, begin, call

SLOW = RECIPE.replace("EPOCHS", "400")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "halves.py").write_text(RECIPE.replace("EPOCHS", "3"))
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def notes(place):
    with sqlite3.connect(place / "home/ledger.db") as book:
        return [json.loads(row[0]) for row in book.execute("SELECT note FROM entry ORDER BY id")]


def decisions(place):
    return {note["decision"]: note["reason"] for note in notes(place) if note["what"] == "decision"}


def digest(path):
    from safetensors.numpy import load

    return {name: each.tobytes() for name, each in load(next(Path(path).glob("*.safetensors")).read_bytes()).items()}


def test_a_training_says_how_good_and_how_dear_and_leaves_a_model_that_runs(place):
    code, out, err = call(place, "train", "halves.py", "--report", "run.html", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["done"]
    assert facts["score"]["low"] < facts["score"]["mean"] < facts["score"]["high"]
    assert facts["score"]["mean"] > 0.8
    assert {"data", "forward", "backward", "optimiser", "evaluation", "checkpoint"} <= set(facts["parts"])
    assert sum(each["usd"] for each in facts["parts"].values()) == pytest.approx(facts["cost"]["usd"])
    assert "<svg" in (place / "run.html").read_text()
    assert "finished" in decisions(place)
    assert call(place, "run", "model.pw", "--json")[0] == 0
    ledger = json.loads(call(place, "ledger", "--by", "phase", "--json")[1])
    assert "train" in json.dumps(ledger)


def test_the_floor_ends_it_early_with_its_reason_on_the_ledger(place):
    code, out, err = call(place, "train", "slow.py", "--floor", "accuracy=80%", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert not facts["done"]
    assert facts["score"]["mean"] > 0.8
    assert "floor is reached" in decisions(place)["reached"]
    assert "sure to be met" in err
    parts = json.loads(call(place, "ledger", "--by", "part", "--json")[1])["rows"]
    assert {"data", "forward", "backward", "optimiser", "evaluation"} <= {row["key"] for row in parts}
    whole = sum(row["usd"] for row in parts)  # and the last receipts, written after the outcome
    assert facts["cost"]["usd"] <= whole < 1.5 * facts["cost"]["usd"]


def test_a_budget_is_never_passed_and_leaves_a_model(place):
    code, out, err = call(place, "train", "slow.py", "--budget", "0.00002usd", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert "budget is used" in facts["why"]
    assert 0 < facts["cost"]["usd"] <= 0.00002 * 1.01
    assert call(place, "run", "model.pw", "--json")[0] == 0


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(place):
    process = begin(place, "train", "slow.py", "--epochs", "150", "--json", "--out", "cut.pw")
    for line in process.stderr:
        if "step 15 " in line:
            process.send_signal(signal.SIGINT)
            break
    out = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    cut = json.loads(out)
    assert 15 <= cut["steps"] < 150 * 15
    assert f"--resume {cut['run']}" in cut["next"]
    code, out, err = call(place, "train", "slow.py", "--resume", cut["run"], "--json", "--out", "rest.pw")
    assert code == 0, err
    rest = json.loads(out)
    assert rest["done"]
    assert rest["cost"]["usd"] > cut["cost"]["usd"]
    assert call(place, "train", "slow.py", "--epochs", "150", "--out", "whole.pw")[0] == 0
    assert digest(place / "rest.pw") == digest(place / "whole.pw")


def test_a_killed_run_loses_nothing_that_was_on_the_ledger_and_goes_on(place):
    process = begin(place, "train", "slow.py", "--epochs", "200")
    for line in process.stderr:
        if "step 150 " in line:
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    (run,) = [each.name for each in (place / "home/runs").iterdir()]
    spent = [note for note in notes(place) if note.get("run") == run]
    assert {"data", "forward"} <= {note.get("part") for note in spent}
    code, out, err = call(place, "train", "slow.py", "--resume", run, "--json")
    assert code == 0, err
    assert json.loads(out)["done"]


def test_what_ails_a_training_is_cured_if_asked_and_said(place):
    words = ("train", "halves.py", "--optimizer", "sgd", "--lr", "5", "--epochs", "6")
    code, _, err = call(place, *words)
    assert (code, "loss is nan" in err) == (1, True), err
    code, out, err = call(place, *words, "--cure", "--json")
    assert code == 0, err
    assert json.loads(out)["steps"] > 60
    assert "loss spike" in decisions(place)["cured"] or "rate" in decisions(place)["cured"]
    assert call(place, "train", "halves.py", "--resume", "x", "--cure")[0] == 2


def test_two_workers_train_one_model(place):
    words = ("--workers", "2", "--sync", "local:4", "--compress", "int8", "--json")
    code, out, err = call(place, "train", "halves.py", "--epochs", "8", *words)
    assert code == 0, err
    facts = json.loads(out)
    assert facts["score"]["mean"] > 0.8
    assert facts["parts"]["communication"]["cpu_s"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "nothing"), "no run named"),
        (("--resume", "x", "--lr", "0.1"), "goes on as it was asked for"),
        (("--optimizer", "adamm"), "use one of: "),
        (("--ema", "2"), "ema of 2"),
        (("--floor", "rmse=1"), "classify"),
        (("--workers", "2", "--sync", "often"), "way for workers to agree"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_spent(place, words, said):
    code, _, err = call(place, "train", "halves.py", *words)
    assert code == 2
    assert said in err
    assert not (place / "model.pw").exists()
