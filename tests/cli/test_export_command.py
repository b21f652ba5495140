"""`pennyweight train --with`, then `pennyweight export`: a folder that transformers loads, or one sentence why not."""

import json
from pathlib import Path

from processes import RECIPE, call

ROOT = Path(__file__).resolve().parents[2]
TINY = """
from dataclasses import replace
from recipes.tiny_llama import TRAINING, Shape, job_of
from tests.tiny_texts import text


def job(data=None, layers=2):
    shape = Shape(vocabulary=320, layers=layers, width=64, heads=4, kv_heads=2, hidden=128, context=32)
    return job_of(text(), shape, replace(TRAINING, epochs=0.1))
"""


def test_a_trained_model_is_exported_in_two_commands(tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    there = {"env": {"PYTHONPATH": str(ROOT)}}
    code, _, err = call(tmp_path, "train", "tiny.py", "--with", "layers=1", **there)
    assert code == 0, err
    code, out, err = call(tmp_path, "export", "model.pw", "-o", "llama", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["out"], told["family"], told["tokens"]) == ("llama", "llama", 256)
    assert told["drift"] < 1e-5
    assert json.loads((tmp_path / "llama/config.json").read_text())["num_hidden_layers"] == 1
    code, out, err = call(tmp_path, "export", "model.pw", "-o", "again")
    assert code == 0, err
    assert "transformers reads 256 tokens as the artifact does" in out
    code, _, err = call(tmp_path, "export", "model.pw", "-o", "llama")
    assert (code, "there already" in err) == (2, True)
    code, _, err = call(tmp_path, "train", "tiny.py", "--with", "depth=1", **there)
    assert (code, "layers" in err) == (2, True)


def test_a_model_that_transformers_does_not_have_is_refused(tmp_path):
    (tmp_path / "halves.py").write_text(RECIPE.replace("EPOCHS", "1"))
    code, _, err = call(tmp_path, "train", "halves.py")
    assert code == 0, err
    code, _, err = call(tmp_path, "export", "model.pw", "-o", "out")
    assert (code, "transformers_config" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    code, _, err = call(tmp_path, "export", "nothing.pw", "-o", "out")
    assert (code, "no artifact" in err) == (2, True)
