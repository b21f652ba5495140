import json
import sys

import pytest
from llamas import FAMILIES, TEXT, settings_of, write_llama

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf import describe, open_model, open_tokenizer


def change(folder, **settings):
    (folder / "config.json").write_text(json.dumps(settings_of(folder) | settings))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_opens_with_the_weights_that_were_written(tmp_path, family):
    import torch
    from safetensors.torch import load_file

    folder = write_llama(tmp_path, family=family)
    model, found = open_model(folder), describe(folder)
    assert (found.family, found.context, found.vocabulary) == (family, 256, 384)
    assert found.task == ("embed" if family == "bert" else "generate")
    assert not model.training
    weights = {name: weight for name, weight in model.state_dict().items() if weight.dim() == 2}
    stored = load_file(folder / "model.safetensors")
    same = stored.keys() & weights.keys()
    assert len(same) >= 3
    assert all(torch.equal(stored[name], weights[name]) for name in same)
    assert found.parameters == sum(weight.numel() for weight in stored.values())


def test_shards_and_one_file_are_the_same_model(tmp_path):
    import torch

    one = open_model(write_llama(tmp_path / "one"))
    several = write_llama(tmp_path / "several", shards=3)
    assert len(list(several.glob("model-*.safetensors"))) >= 3
    ids = torch.arange(20)[None]
    assert torch.equal(one(ids).logits, open_model(several)(ids).logits)


def test_a_classifier_opens_with_its_labels(tmp_path):
    model = open_model(write_llama(tmp_path, family="bert", labels=5))
    assert model.classifier.out_features == 5


def test_weights_are_of_the_type_asked_for_and_positions_stay_exact(tmp_path):
    import torch

    model = open_model(write_llama(tmp_path), "bfloat16")
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    with pytest.raises(BadInputError, match="int3"):
        open_model(tmp_path, "int3")


@pytest.mark.parametrize("to", ["int8", "int4", "mxfp4"])
def test_weights_that_shrink_has_rounded_open_as_what_they_stand_for(tmp_path, monkeypatch, to):
    import torch

    from pennyweight.engine.shrinking import Wish, check, plan, shrink

    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    folder, made = write_llama(tmp_path / "given", width=128), tmp_path / "made"
    shrink(plan(folder, Wish(to)), made)
    given, opened = open_model(folder), open_model(made)
    moved = check(folder, made).tensors
    name = "model.layers.1.mlp.up_proj"
    weight, other = given.get_submodule(name).weight, opened.get_submodule(name).weight
    assert other.dtype == torch.float32
    assert float((weight - other).norm() / weight.norm()) == pytest.approx(moved[f"{name}.weight"], rel=0.02)
    assert opened(torch.arange(9)[None]).logits.isfinite().all()


def test_an_unknown_architecture_is_named_and_its_code_not_run(tmp_path):
    folder = write_llama(tmp_path)
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    change(folder, model_type="zebra", auto_map={"AutoConfig": "evil.Z", "AutoModelForCausalLM": "evil.Z"})
    with pytest.raises(BadInputError, match="zebra"):
        open_model(folder)
    change(folder, model_type="llama", auto_map={"AutoConfig": "evil.Z", "AutoModelForCausalLM": "evil.Z"})
    open_model(folder)
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_hidden_layers": 3}, "lacks 9 weights"),
        ({"num_hidden_layers": 1}, "has, against its config.json, 9 weights"),
        ({"intermediate_size": 96}, "do not fit together"),
        ({"vocab_size": 999}, "do not fit together"),
        ({"hidden_size": "wide"}, "do not fit together"),
        ({"num_attention_heads": 5}, "do not fit together"),
        ({"model_type": None}, "does not name a model_type"),
    ],
)
def test_a_config_that_disagrees_with_the_weights_is_refused_never_filled_up(tmp_path, settings, said):
    folder = write_llama(tmp_path)
    change(folder, **settings)
    with pytest.raises(BadInputError, match=said):
        open_model(folder)


def test_files_that_are_missing_or_cut_short_are_named(tmp_path):
    folder = write_llama(tmp_path / "one", shards=3)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    body = shard.read_bytes()
    shard.write_bytes(body[:-9])
    with pytest.raises(CorruptError, match=shard.name):
        open_model(folder)
    shard.unlink()
    with pytest.raises(BadInputError, match=shard.name):
        open_model(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(BadInputError, match="holds neither"):
        open_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BadInputError, match="no checkpoint"):
        open_model(folder)


def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path):
    folder = write_llama(tmp_path, shards=3)
    index = folder / "model.safetensors.index.json"
    said = json.loads(index.read_text())
    said["weight_map"] = dict.fromkeys(said["weight_map"], "../model.safetensors")
    index.write_text(json.dumps(said))
    with pytest.raises(CorruptError, match="no file of it"):
        open_model(folder)


def test_a_tokenizer_reads_any_text_back_and_its_absence_is_said(tmp_path):
    folder = write_llama(tmp_path)
    tokenizer = open_tokenizer(folder)
    for text in (TEXT, "Ünïcödé 日本 \n\t"):
        assert tokenizer.decode(tokenizer(text, verbose=False)["input_ids"]) == text
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BadInputError, match="cannot be read"):
        open_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadInputError, match="has no tokenizer"):
        open_tokenizer(folder)


def test_opening_is_silent(tmp_path, capfd):
    folder = write_llama(tmp_path)
    capfd.readouterr()
    open_model(folder)
    open_tokenizer(folder)
    assert capfd.readouterr() == ("", "")


def test_the_same_seed_makes_the_same_weights_and_noise_moves_them(tmp_path):
    import torch

    first, again, other = (
        open_model(write_llama(tmp_path / name, noise=noise)).lm_head.weight
        for name, noise in (("first", 0.0), ("again", 0.0), ("other", 0.1))
    )
    assert torch.equal(first, again)
    assert float((first - other).std() / first.std()) == pytest.approx(0.1, rel=0.05)
