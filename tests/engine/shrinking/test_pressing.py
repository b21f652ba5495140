"""Blocks are rounded one by one by what a text brings to them; others load what comes out, and it answers nearly so."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from llamas import TEXT, settings_of, write_llama
from safetensors.torch import load_file

from pennyweight.engine.shrinking import Calibration, Wish, check, needed_byte, plan, shrink
from pennyweight.engine.shrinking.planning import block_of

METHODS = ("rtn", "hqq", "gptq", "awq")


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 5)
    return Calibration(path)


def pressed(folder, out, method, text, **wish):
    made = plan(folder, Wish(**{"to": "int3", "group": 32, "method": method, "calibration": text, **wish}))
    return shrink(made, out)


def weights_of(folder):
    found = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def loaded(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()


def test_methods_move_outputs_less_the_more_they_know(tmp_path, text):
    folder = write_llama(tmp_path / "llama", width=128, noise=0.5)
    mean = {}
    for method in METHODS:
        receipt = pressed(folder, tmp_path / method, method, text)
        assert len(receipt.errors) == receipt.rounded == 14
        assert receipt.method == method
        mean[method] = np.mean(list(receipt.errors.values()))
    assert mean["hqq"] < 0.9 * mean["rtn"]
    assert mean["awq"] < 0.85 * mean["rtn"]
    assert mean["gptq"] < 0.6 * mean["rtn"]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_answers_of_what_comes_out_are_nearer_by_gptq_than_by_rounding(tmp_path, text, family):
    folder = write_llama(tmp_path / family, family=family, noise=1.0, dtype="bfloat16")
    given, apart = loaded(folder), {}
    tokens = torch.from_numpy(text.sequences(folder, given.config.to_dict())[7::8])
    for method in ("rtn", "gptq"):
        pressed(folder, tmp_path / method, method, text, to="int4")
        with torch.no_grad():
            apart[method] = float((loaded(tmp_path / method)(tokens).logits - given(tokens).logits).norm())
    assert 0 < apart["gptq"] < 0.9 * apart["rtn"]


def test_without_fitting_blocks_are_the_same_bytes_as_piece_by_piece(tmp_path, text):
    folder = write_llama(tmp_path / "llama", dtype="bfloat16", noise=1.0)
    for method in ("rtn", "hqq"):
        pressed(folder, tmp_path / method, method, text)
        pressed(folder, tmp_path / f"{method}-streamed", method, None)
        one, other = weights_of(tmp_path / method), weights_of(tmp_path / f"{method}-streamed")
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def with_as_many_keys(folder):
    """The same model with as many heads of keys as of queries, so that values can be divided by factors too."""
    from transformers import LlamaConfig, LlamaForCausalLM

    said = settings_of(folder) | {"num_key_value_heads": 4}
    LlamaForCausalLM(LlamaConfig(**said)).save_pretrained(folder)


@pytest.mark.parametrize("keys", [2, 4])
def test_awq_folds_its_factors_so_that_without_rounding_nothing_would_change(tmp_path, text, keys):
    folder = write_llama(tmp_path / "llama", width=128, noise=1.0)
    if keys == 4:
        with_as_many_keys(folder)
    pressed(folder, tmp_path / "out", "awq", text, to="int8")
    one, other, tokens = loaded(folder), loaded(tmp_path / "out"), torch.randint(8, 300, (4, 64))
    name = "model.layers.1.input_layernorm.weight"
    moved = weights_of(tmp_path / "out")[name] / weights_of(folder)[name]
    assert moved.std() > 0.02
    with torch.no_grad():
        logits = one(tokens).logits
        assert float((other(tokens).logits - logits).norm() / logits.norm()) < 0.02


@pytest.mark.parametrize("to", ["int3", "int4", "int8"])
def test_errors_are_those_of_the_weights_that_others_read(tmp_path, text, to):
    folder = write_llama(tmp_path / "llama", layers=1)
    receipt = pressed(folder, tmp_path / "out", "gptq", text, to=to)
    models, found, name = (loaded(folder), loaded(tmp_path / "out")), [], "model.layers.0.self_attn.q_proj"
    tokens = torch.from_numpy(text.sequences(folder, models[0].config.to_dict())[7::8])
    for model in models:
        model.get_submodule(name).register_forward_hook(lambda layer, given, made: found.append(made))
        with torch.no_grad():
            model(tokens)
    wanted, got = found
    assert receipt.errors[name] == pytest.approx(float((got - wanted).norm() / wanted.norm()), rel=0.05)


def test_a_file_holds_one_block_and_memory_stays_below_what_was_said(tmp_path, text):
    folder = write_llama(tmp_path / "llama", layers=3, width=256, shards=2)
    made = plan(folder, Wish("int4", group=64, method="gptq", calibration=text))
    assert [{block_of(made.source, e.name) for e in outline.entries} for outline in made.blocks] == [{0}, {1}, {2}]
    said, receipt = needed_byte(made), shrink(made, tmp_path / "out")
    assert receipt.peak_byte < receipt.most_byte <= said * 1.05
    assert not list((tmp_path / "out").glob(".*"))
    found = check(folder, tmp_path / "out")
    assert found.errors == receipt.errors
    assert 0.05 < found.whole < 0.5


def test_what_is_kept_stays_and_the_rest_is_fitted(tmp_path, text):
    folder = write_llama(tmp_path / "llama")
    for method in ("gptq", "awq"):
        receipt = pressed(folder, tmp_path / method, method, text, keep=("k_proj", "layers.1.mlp"))
        assert len(receipt.errors) == 14 - 2 - 3
        one, other = weights_of(tmp_path / method), weights_of(folder)
        assert all(torch.equal(one[name], other[name]) for name in one if "k_proj" in name or "layers.1.mlp" in name)
        assert torch.equal(one["model.layers.0.input_layernorm.weight"], other["model.layers.0.input_layernorm.weight"])
        loaded(tmp_path / method)


def test_a_check_of_awq_compares_what_was_not_scaled(tmp_path, text):
    folder = write_llama(tmp_path / "llama")
    receipt = pressed(folder, tmp_path / "out", "awq", text)
    found = check(folder, tmp_path / "out")
    assert (found.tensors, found.errors) == ({}, receipt.errors)
    assert found.same == 3
    assert json.loads((tmp_path / "out/shrunk.json").read_text())["method"] == "awq"


def test_a_longer_text_takes_no_more_memory_than_was_said(tmp_path):
    folder, path = write_llama(tmp_path / "llama", layers=1, width=512), tmp_path / "long.txt"
    path.write_text(TEXT * 50)
    program = (
        "import sys; from pathlib import Path; from pennyweight.engine.shrinking import *\n"
        "made = plan(Path(sys.argv[1]), Wish(group=64, method='gptq', calibration=Calibration(Path(sys.argv[2]))))\n"
        "said = needed_byte(made); shrink(made, Path(sys.argv[3]))\n"
        "print(said, [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder, path, tmp_path / "out"], check=True, capture_output=True, text=True
    )
    said, most = map(float, done.stdout.split())
    assert 200e6 < most * 1024 < said
