"""Blocks, neurons and heads are taken out of checkpoints that transformers loads, and what stays answers nearly so."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from llamas import TEXT, settings_of, write_llama
from safetensors.torch import load_file, save_file

from pennyweight import Shop
from pennyweight.cost.hf_config import from_config
from pennyweight.cost.transformer import parameters
from pennyweight.engine.cutting import Calibration, Wish, blocks, cut, plan
from pennyweight.engine.cutting.columns import fitted, without
from pennyweight.engine.quality.asking import Asked
from pennyweight.engine.quality.comparing import compare
from pennyweight.engine.shrinking import Wish as Rounded
from pennyweight.engine.shrinking import plan as plan_rounding
from pennyweight.engine.shrinking import shrink
from pennyweight.errors import BadInputError, NoEffectError

FAMILIES = ["llama", "mistral", "qwen2", "qwen3"]


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 2)
    return Calibration(path)


def weights_of(folder):
    found = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


def loaded(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()


def bodies(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weaken(folder, *, blocks, gain):
    """Multiply what blocks of a checkpoint add to states."""
    path = folder / "model.safetensors"
    held = load_file(path)
    for name in held:
        if any(f"layers.{number}." in name for number in blocks) and ("o_proj" in name or "down_proj" in name):
            held[name] *= gain
    save_file(held, path, {"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_what_comes_out_is_counted_and_loaded_as_any_other(tmp_path, text, family):
    given = write_llama(
        tmp_path / "given", family=family, layers=3, noise=0.5, dtype="bfloat16", tied=family == "qwen3"
    )
    out = tmp_path / "out"
    receipt = cut(plan(given, Wish(layers=1, ffn=0.25, heads=0.5, calibration=text)), out)
    said, model = settings_of(out), loaded(out)
    assert [said[key] for key in ("num_hidden_layers", "intermediate_size", "num_key_value_heads")] == [2, 96, 1]
    assert (said["num_attention_heads"], said["head_dim"], said["hidden_size"]) == (2, 16, 64)
    assert {str(each.dtype) for each in weights_of(out).values()} == {"torch.bfloat16"}
    count = sum(each.numel() for each in model.parameters())
    assert receipt.after.parameters == parameters(from_config(out)) == count < receipt.before.parameters
    assert receipt.after.byte == 2 * count
    assert receipt.after.flop_token < 0.7 * receipt.before.flop_token
    assert receipt.after.kv_byte_token == receipt.before.kv_byte_token / 3
    assert receipt.peak_byte < receipt.most_byte
    assert len(receipt.dropped.moved) == 4
    assert all(0 < share < 1 for share in receipt.dropped.moved.values())
    assert torch.isfinite(model(torch.arange(12)[None]).logits).all()
    assert not [name for name in bodies(out) if name.startswith(".") or "unfinished" in name]


def test_a_block_that_does_nothing_goes_first_and_nothing_is_lost(tmp_path, text):
    given = write_llama(tmp_path / "given", layers=4, noise=0.5)
    weaken(given, blocks=[2], gain=0.0)
    tokens = torch.from_numpy(text.sequences(given, settings_of(given))[:2])
    for by in ("best", "influence", "run", "loss", "greedy"):
        receipt = cut(plan(given, Wish(layers=1, calibration=text, by=by)), tmp_path / by)
        chosen = receipt.dropped.chosen
        assert chosen.dropped == (2,), by
        assert abs(chosen.influence[2]) < 1e-6 < min(chosen.influence[:2])
        assert chosen.after == pytest.approx(chosen.before)
        with torch.no_grad():
            torch.testing.assert_close(loaded(tmp_path / by)(tokens).logits, loaded(given)(tokens).logits)
    assert len(chosen.alone) == 4
    assert chosen.alone[2] == pytest.approx(0, abs=1e-6)


def test_the_losses_that_blocks_are_chosen_by_are_those_of_transformers(tmp_path, text):
    given = write_llama(tmp_path / "given", layers=3, noise=0.5)
    receipt = cut(plan(given, Wish(layers=1, calibration=text, by="run")), tmp_path / "out")
    held = torch.from_numpy(text.sequences(given, settings_of(given))[7::8])
    for folder, told in ((given, receipt.dropped.chosen.before), (tmp_path / "out", receipt.dropped.chosen.after)):
        with torch.no_grad():
            logits = loaded(folder)(held).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), held[:, 1:].flatten())
        assert told == pytest.approx(float(loss), rel=1e-5)


def test_windows_of_attention_go_with_their_blocks(tmp_path, text):
    given = write_llama(tmp_path / "given", family="qwen2", layers=4, noise=0.5)
    weaken(given, blocks=[1], gain=0.0)
    said = settings_of(given) | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}
    said.pop("layer_types", None)
    (given / "config.json").write_text(json.dumps(said))
    cut(plan(given, Wish(layers=1, calibration=text, by="influence")), tmp_path / "out")
    made = settings_of(tmp_path / "out")
    assert made["layer_types"] == ["full_attention", "sliding_attention", "sliding_attention"]
    assert made["max_window_layers"] == 1
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded(tmp_path / "out")(tokens).logits, loaded(given)(tokens).logits)


def test_neurons_and_heads_that_do_nothing_go_first_and_nothing_is_lost(tmp_path, text):
    given = write_llama(tmp_path / "given", family="qwen2", noise=0.5)
    held = load_file(given / "model.safetensors")
    for number, group in ((0, 1), (1, 0)):
        held[f"model.layers.{number}.mlp.down_proj.weight"][:, number::4] = 0
        held[f"model.layers.{number}.self_attn.o_proj.weight"][:, group * 32 : group * 32 + 32] = 0
    save_file(held, given / "model.safetensors", {"format": "pt"})
    tokens = torch.arange(60)[None]
    for mend in (True, False):
        out = tmp_path / str(mend)
        receipt = cut(plan(given, Wish(ffn=0.25, heads=0.5, calibration=text, mend=mend)), out)
        assert receipt.dropped.groups == {0: (1,), 1: (0,)}
        assert receipt.dropped.worth[0][1] == pytest.approx(0, abs=1e-6)
        assert max(receipt.dropped.moved.values()) < 1e-5
        made = weights_of(out)["model.layers.1.self_attn.k_proj.bias"]
        assert torch.equal(made, held["model.layers.1.self_attn.k_proj.bias"][16:])
        with torch.no_grad():
            torch.testing.assert_close(loaded(out)(tokens).logits, loaded(given)(tokens).logits, atol=1e-4, rtol=1e-4)


def test_weights_fitted_again_lose_less_than_weights_as_they_were():
    torch.manual_seed(0)
    rows = torch.randn(4000, 8) @ torch.randn(8, 32) + 0.1 * torch.randn(4000, 32)
    weights, hessian = torch.randn(16, 32), rows.t() @ rows / 4000
    best = {}
    for name, left in {
        "mended": fitted(weights, hessian.clone(), 1, 16),
        "plain": without(weights, hessian.diagonal(), 1, 16),
        "heads": fitted(weights, hessian.clone(), 4, 4),
    }.items():
        assert left.weights.shape == (16, 16)
        assert torch.equal(left.kept, left.kept.sort().values)
        best[name] = float((rows[:, left.kept] @ left.weights.t() - rows @ weights.t()).norm())
    exact = torch.linalg.lstsq(rows[:, (kept := fitted(weights, hessian.clone(), 1, 16).kept)], rows @ weights.t())
    least = float((rows[:, kept] @ exact.solution - rows @ weights.t()).norm())
    assert best["mended"] == pytest.approx(least, rel=0.05)
    assert best["mended"] < 0.3 * best["plain"]
    assert best["heads"] < 0.5 * best["plain"]


def test_killed_anywhere_it_goes_on_and_ends_in_the_same_bytes(tmp_path, text, monkeypatch):
    given = write_llama(tmp_path / "given", layers=4, noise=0.5, dtype="bfloat16")
    wish = Wish(layers=1, ffn=0.25, heads=0.5, calibration=text, by="influence")
    cut(plan(given, wish), tmp_path / "whole")
    out, real, left = tmp_path / "out", os.fsync, [0]

    def dying(handle):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(handle)

    stops = 0
    monkeypatch.setattr(os, "fsync", dying)
    while True:
        left[0] = 5 + 2 * stops
        try:
            receipt = cut(plan(given, wish), out, resume=stops > 0)
            break
        except KeyboardInterrupt:
            stops += 1
            assert not (out / "config.json").exists() or len(list(out.glob("model-*.safetensors"))) == 4
            with pytest.raises(BadInputError, match="begun"):
                cut(plan(given, wish), out)
    left[0] = 1000
    assert stops > 3
    assert receipt.kept_shards >= 3
    assert bodies(tmp_path / "whole") == bodies(out)
    with pytest.raises(BadInputError, match="finished"):
        cut(plan(given, wish), out)
    cut(plan(given, replace(wish, heads=0.0)), out, force=True)
    assert settings_of(out)["num_attention_heads"] == 4


def test_other_wishes_do_not_go_on_with_what_was_begun(tmp_path, text, monkeypatch):
    given, out = write_llama(tmp_path / "given"), tmp_path / "out"
    monkeypatch.setattr(blocks, "fitted", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cut(plan(given, Wish(ffn=0.25, calibration=text)), out)
    with pytest.raises(BadInputError, match="other settings"):
        cut(plan(given, Wish(ffn=0.5, calibration=text)), out, resume=True)


def test_what_was_cut_is_rounded_and_compared_as_any_other_and_booked(tmp_path, text):
    given, out = write_llama(tmp_path / "given", noise=0.5, dtype="bfloat16"), tmp_path / "out"
    (tmp_path / "words.txt").write_text(TEXT[:90])
    cut(plan(given, Wish(ffn=0.25, vocab=tmp_path / "words.txt", calibration=text)), out)
    entry = next(each for each in Shop.at().ledger.entries() if each.job == "cut given")
    assert entry.plan_text == "0.25 of neurons, tokens of no text, mended"
    shrink(plan_rounding(out, Rounded("int4", group=32, method="gptq", calibration=text)), tmp_path / "int4")
    result = compare(given, out, Asked((tmp_path / "words.txt",), window=64))
    assert 0.5 < result.text.ratio < 2


def test_a_llama_of_no_such_heads_is_told_which_it_can_have(tmp_path, text):
    given = write_llama(tmp_path / "given", width=64)
    said = settings_of(given) | {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
    (given / "config.json").write_text(json.dumps(said))
    with pytest.raises(BadInputError, match=r"give --heads 0\.5, which leaves 2 groups"):
        plan(given, Wish(heads=0.25, calibration=text))


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"layers": 2}, "2 blocks cannot be dropped: there are 2. To fix: give --layers at most 1."),
        ({"layers": -1}, "-1 blocks"),
        ({"ffn": 1.0}, "less than 100%"),
        ({"ffn": 0.01}, "give --ffn at least 25.00%"),
        ({"heads": 0.1}, "give --heads at least 50.00%"),
        ({}, "Nothing to drop was named"),
        ({"layers": 1, "calibration": None}, "--calibrate TEXT.txt"),
        ({"layers": 1, "by": "luck"}, "no way to choose blocks named 'luck'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, text, wish, problem):
    given = write_llama(tmp_path / "given")
    with pytest.raises((BadInputError, NoEffectError)) as raised:
        plan(given, Wish(**{"calibration": text, **wish}))
    assert problem in str(raised.value)


def test_models_that_cannot_be_cut_are_refused_with_a_reason(tmp_path, text):
    wish = Wish(layers=1, calibration=text)
    with pytest.raises(BadInputError, match="'gpt_neox' cannot be computed one by one"):
        plan(write_llama(tmp_path / "neox", family="gpt_neox"), wish)
    given = write_llama(tmp_path / "given")
    for change, problem in (
        ({"num_hidden_layers": 3}, "there are 3 blocks"),
        ({"intermediate_size": 96}, "but config.json says"),
        ({"num_key_value_heads": 3}, "does not come out"),
        ({"quantization_config": {}}, "rounded already"),
    ):
        other = tmp_path / problem[:9]
        shutil.copytree(given, other)
        (other / "config.json").write_text(json.dumps(settings_of(given) | change))
        with pytest.raises(BadInputError, match=problem):
            plan(other, wish)
    (given / "tokenizer.json").unlink()
    with pytest.raises(BadInputError, match=r"has no tokenizer\.json"):
        plan(given, wish)


def test_weights_that_are_no_numbers_leave_nothing_that_looks_whole(tmp_path, text):
    given, out = write_llama(tmp_path / "given"), tmp_path / "out"
    held = load_file(given / "model.safetensors")
    held["model.layers.1.mlp.up_proj.weight"][0, 0] = np.nan
    save_file(held, given / "model.safetensors", {"format": "pt"})
    with pytest.raises(Exception, match="infinite or no number"):
        cut(plan(given, Wish(ffn=0.25, calibration=text)), out)
    assert not (out / "config.json").exists()
    with pytest.raises(BadInputError, match="the checkpoint itself"):
        cut(plan(given, Wish(ffn=0.25, calibration=text)), given / "inner")
