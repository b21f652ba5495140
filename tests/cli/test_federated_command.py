"""`pennyweight train` among clients that keep their data, and among workers that do not wait for each other."""

import json
from pathlib import Path

from processes import RECIPE, call

DIGITS = Path(__file__).resolve().parents[2] / "recipes" / "federated_digits.py"


def test_clients_train_together_and_what_cannot_be_asked_for_is_said(tmp_path):
    words = ("train", DIGITS, "--clients", "5", "--rounds", "2", "--rule", "fedprox:0.1")
    code, out, err = call(tmp_path, *words, "--secure", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert len(facts["rounds"]) == 2
    assert facts["rounds"][0]["loss"] is None
    assert facts["score"]["mean"] > 0.5
    assert "round 2 of 2 · 5 of 5 clients" in err
    assert call(tmp_path, "run", "model.pw", "--json")[0] == 0
    code, _, err = call(tmp_path, *words, "--workers", "2")
    assert code == 2
    assert "takes no --workers" in err


def test_clients_send_fewer_bytes_when_asked_to(tmp_path):
    words = ("train", DIGITS, "--clients", "4", "--rounds", "3", "--epochs", "1", "--json")
    byte = []
    for packed in ((), ("--compress", "int8")):
        code, out, err = call(tmp_path, *words, *packed)
        assert code == 0, err
        byte.append(json.loads(out)["rounds"][-1]["up_byte"])
    assert byte[1] < byte[0] / 3
    code, _, err = call(tmp_path, *words, "--compress", "int8", "--secure")
    assert code == 2
    assert "leave out secure or compress" in err


def test_workers_that_do_not_wait_are_paid_for_too(tmp_path):
    (tmp_path / "halves.py").write_text(RECIPE.replace("EPOCHS", "2"))
    code, out, err = call(tmp_path, "train", "halves.py", "--workers", "2", "--sync", "async:4", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["done"]
    assert facts["score"]["mean"] > 0.75
    assert facts["parts"]["workers"]["cpu_s"] > 0.5 * facts["cost"]["cpu_s"]
    code, _, err = call(tmp_path, "train", "halves.py", "--sync", "async:0", "-o", "other.pw")
    assert code == 2
    assert "async:8" in err
