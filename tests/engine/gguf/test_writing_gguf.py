"""GGUF files are read by other programs: by gguf's reader, and by transformers', which must answer as before."""

import json
import os
import shutil

import gguf
import numpy as np
import pytest
from llamas import TEXT, settings_of, write_llama

from pennyweight import Shop
from pennyweight.backends.large.ggml import decoded, encoded, slack, to_halves, to_neighbours
from pennyweight.backends.large.ggml_facts import facts_of
from pennyweight.engine.gguf import plan, write
from pennyweight.engine.gguf.reading import compare
from pennyweight.errors import BadInputError, CorruptError, PennyweightError, StorageError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    for family in FAMILIES:
        write_llama(place / family, family=family, dtype="bfloat16", noise=0.5, shards=3)
    return place


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


def changed(model, place, **said):
    folder = shutil.copytree(model, place)
    path = folder / "config.json"
    path.write_text(json.dumps(settings_of(folder) | said))
    return folder


def tokenizer_changed(model, place, change):
    folder = shutil.copytree(model, place)
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    return folder


def logits(folder, **words):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **words)
    with torch.inference_mode():
        return model(torch.arange(6, 70)[None]).logits[0].numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_of_bf16_is_the_same_to_the_bit(models, tmp_path, family):
    receipt = write(plan(models / family, "bf16"), tmp_path / "model.gguf")
    assert receipt.found.same == receipt.found.tensors
    assert receipt.found.moved == 0


def test_f16_of_f16_is_the_same_to_the_bit_in_heads_that_are_moved_too(tmp_path):
    write_llama(tmp_path / "half", dtype="float16")
    receipt = write(plan(tmp_path / "half"), tmp_path / "model.gguf")
    assert receipt.found.same == receipt.found.tensors == 21


# transformers takes heads of Qwen 3 to be 128 wide, and files called after Mistral for an architecture it does not read
@pytest.mark.parametrize(("family", "width"), [("llama", 64), ("mistral", 64), ("qwen2", 64), ("qwen3", 512)])
def test_transformers_reads_the_file_and_answers_alike(tmp_path, family, width):
    folder = write_llama(tmp_path / "given", family=family, width=width, noise=0.5, dtype="bfloat16")
    made = shutil.copytree(folder, tmp_path / "out")
    write(plan(folder, "bf16"), made / "model.gguf")
    for shard in made.glob("*.safetensors"):
        shard.unlink()
    wanted, got = logits(folder), logits(made, gguf_file="model.gguf")
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize(("to", "least", "most"), [("f16", 0, 1e-6), ("q8_0", 1e-3, 1e-2), ("q4_0", 1e-2, 0.2)])
def test_rounding_moves_no_further_than_it_must(models, tmp_path, to, least, most):
    made = plan(models / "llama", to)
    receipt = write(made, tmp_path / "model.gguf")
    assert least <= receipt.found.moved <= most
    assert 0 < receipt.peak_byte < receipt.most_byte
    assert (tmp_path / "model.gguf").stat().st_size == made.byte == receipt.out_byte
    kinds = {each.name: each.tensor_type.name for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["blk.1.ffn_down.weight"] == to.upper()
    assert kinds["output.weight"] == ("Q8_0" if to == "q4_0" else to.upper())
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert list(tmp_path.glob("*.unfinished")) == []


def test_the_head_says_what_the_model_is(models, tmp_path):
    write(plan(models / "qwen3", "q8_0"), tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    said = {name: field.contents() for name, field in fields.items()}
    assert said["general.architecture"] == "qwen3"
    assert [said[f"qwen3.{name}"] for name in ("context_length", "embedding_length", "block_count")] == [256, 64, 2]
    assert (said["qwen3.attention.head_count"], said["qwen3.attention.head_count_kv"]) == (4, 2)
    assert (said["qwen3.feed_forward_length"], said["qwen3.vocab_size"]) == (128, 384)
    assert said["qwen3.rope.freq_base"] == 10_000
    assert (said["tokenizer.ggml.model"], said["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert (said["tokenizer.ggml.bos_token_id"], said["tokenizer.ggml.padding_token_id"]) == (0, 1)
    assert "message['content']" in said["tokenizer.chat_template"]


def test_words_of_the_file_are_those_of_the_tokenizer(models, tmp_path):
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers import models as kinds

    write(plan(models / "llama"), tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    tokens, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    again = Tokenizer(kinds.BPE({token: at for at, token in enumerate(tokens)}, [tuple(e.split(" ")) for e in merges]))
    again.pre_tokenizer, again.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    given = Tokenizer.from_file(str(models / "llama/tokenizer.json"))
    assert again.encode(TEXT).ids == given.encode(TEXT).ids
    special = fields["tokenizer.ggml.token_type"].contents()
    assert [token for token, kind in zip(tokens, special, strict=True) if kind == 3] == [
        each["content"] for each in json.loads(given.to_str())["added_tokens"]
    ]


def test_neighbours_are_turned_as_halves_were():
    rng = np.random.default_rng(0)
    q, k, angles = rng.normal(size=(2, 16)), rng.normal(size=(2, 16)), rng.normal(size=(2, 4))

    def halves(x, angle):
        one, two = x.reshape(2, 2, 4).swapaxes(0, 1)
        return np.concatenate(
            [one * np.cos(angle) - two * np.sin(angle), two * np.cos(angle) + one * np.sin(angle)], axis=1
        )

    def neighbours(x, angle):
        turned = x.reshape(2, 4, 2) @ np.array([[1, 0], [0, 1]])
        whole = (turned[..., 0] + 1j * turned[..., 1]) * np.exp(1j * angle)
        return np.stack([whole.real, whole.imag], axis=-1).reshape(2, 8)

    q, k = (x[0].reshape(2, 8) for x in (q, k))
    moved_q, moved_k = (to_neighbours(x.reshape(16, 1), 8).reshape(2, 8) for x in (q, k))
    wanted = (halves(q, angles[:1]) * halves(k, angles[1:])).sum(axis=1)
    got = (neighbours(moved_q, angles[:1]) * neighbours(moved_k, angles[1:])).sum(axis=1)
    np.testing.assert_allclose(got, wanted)
    np.testing.assert_array_equal(to_halves(to_neighbours(q.reshape(16, 1), 8), 8), q.reshape(16, 1))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_what_rounding_allows_is_enough_and_hardly_more(kind):
    rng = np.random.default_rng(1)
    scales = 10.0 ** rng.integers(-9, 3, (400, 1))
    values = (rng.normal(size=(400, 64)) * scales).astype(np.float32)
    moved = np.abs(decoded(encoded(values, kind), kind, 64) - values)
    allowed = slack(values, kind)
    assert (moved <= allowed).all()
    assert (moved / allowed).max() > 0.5


def test_stretched_positions_are_those_of_transformers(models):
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    shape = settings_of(models / "llama") | {"head_dim": 64, "rope_parameters": rope}
    facts = facts_of(shape)
    plain = 500_000.0 ** (-torch.arange(0, 64, 2) / 64)
    wanted, _ = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(**shape), "cpu")
    np.testing.assert_allclose((plain / torch.from_numpy(facts.rope.factors(64))).numpy(), wanted.numpy(), rtol=1e-5)


def test_stretched_and_tied_models_are_read_back_too(tmp_path):
    write_llama(tmp_path / "tied", tied=True)
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 64
    folder = changed(tmp_path / "tied", tmp_path / "stretched", rope_parameters=rope)
    write(plan(folder, "q4_0"), tmp_path / "model.gguf")
    tensors = {each.name: each for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert "output.weight" not in tensors
    assert tensors["token_embd.weight"].tensor_type.name == "Q8_0"
    factors = tensors["rope_freqs.weight"].data
    assert (factors[0], factors[-1]) == (1, 8)


def test_a_window_becomes_the_longest_context(models, tmp_path):
    folder = changed(models / "mistral", tmp_path / "narrow", sliding_window=32)
    assert plan(folder).facts.context_length == 32
    assert plan(models / "mistral").facts.context_length == 256


def test_one_entry_of_the_ledger_says_what_it_took(models, tmp_path):
    write(plan(models / "qwen2", "q8_0"), tmp_path / "model.gguf")
    entries = [each for each in Shop.at().ledger.entries() if each.job == "gguf qwen2"]
    assert [each.plan_text for each in entries] == ["q8_0 for llama.cpp"]
    assert entries[0].cost.wall_s > 0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"model_type": "gemma2"}, "gemma2"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "rounded already"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"num_hidden_layers": 1}, "no place for"),
        ({"intermediate_size": 64}, "by config.json"),
        ({"num_key_value_heads": 3}, "cannot be"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "longrope"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "stretched"),
        ({"partial_rotary_factor": 0.5}, "positions"),
    ],
)
def test_a_model_that_llama_cpp_would_run_otherwise_is_refused(models, tmp_path, said, why):
    with pytest.raises(BadInputError, match=why):
        plan(changed(models / "llama", tmp_path / "odd", **said))


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["model"].update(type="Unigram"),
        lambda said: said["model"].update(byte_fallback=True),
        lambda said: said["model"].update(ignore_merges=True),
        lambda said: said.update(normalizer={"type": "Lowercase"}),
        lambda said: said.update(pre_tokenizer={"type": "Whitespace"}),
        lambda said: said.update(pre_tokenizer=None),
        lambda said: said["pre_tokenizer"].update(add_prefix_space=True),
        lambda said: said["model"]["vocab"].update(more=400),
    ],
)
def test_a_tokenizer_that_llama_cpp_has_not_is_refused(models, tmp_path, change):
    with pytest.raises(BadInputError, match="tokenizer"):
        plan(tokenizer_changed(models / "llama", tmp_path / "odd", change))


def test_published_ways_to_cut_words_have_their_names(models, tmp_path):
    qwen = pytest.importorskip("transformers.models.qwen2.tokenization_qwen2")

    def cut(said):
        pattern = {"type": "Split", "pattern": {"Regex": qwen.PRETOKENIZE_REGEX}, "behavior": "Isolated"}
        whole = said["pre_tokenizer"] | {"use_regex": False}
        said["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [pattern | {"invert": False}, whole]}

    def cut_in_threes(said):
        cut(said)
        pattern = said["pre_tokenizer"]["pretokenizers"][0]["pattern"]
        pattern["Regex"] = pattern["Regex"].replace(r"\p{N}|", r"\p{N}{1,3}|")
        said["model"]["ignore_merges"] = True

    assert plan(tokenizer_changed(models / "qwen2", tmp_path / "qwen", cut)).words.pre == "qwen2"
    assert plan(tokenizer_changed(models / "llama", tmp_path / "llama", cut_in_threes)).words.pre == "llama-bpe"


def test_a_tokenizer_that_is_missing_or_damaged_is_said(models, tmp_path):
    folder = shutil.copytree(models / "llama", tmp_path / "odd")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(BadInputError, match="not JSON"):
        plan(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadInputError, match=r"no tokenizer\.json"):
        plan(folder)
    with pytest.raises(BadInputError, match="q5_k"):
        plan(models / "llama", "q5_k")


def spoilt(model, place, value):
    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(model, place)
    shard = min(folder.glob("*.safetensors"))
    tensors = load_file(shard)
    next(each for each in tensors.values() if each.dim() == 2)[0, 0] = torch.tensor(value)
    save_file(tensors, shard, {"format": "pt"})
    return folder


def test_weights_that_no_file_can_hold_leave_no_file(models, tmp_path):
    with pytest.raises(CorruptError, match="no number"):
        write(plan(spoilt(models / "llama", tmp_path / "nan", float("nan"))), tmp_path / "model.gguf")
    large = spoilt(models / "llama", tmp_path / "large", 1e6)
    with pytest.raises(BadInputError, match="bf16"):
        write(plan(large), tmp_path / "model.gguf")
    assert not list(tmp_path.glob("model.gguf*"))
    write(plan(large, "bf16"), tmp_path / "model.gguf")


def test_a_disk_without_room_is_said_and_leaves_nothing(models, tmp_path, monkeypatch):
    made = plan(models / "llama")
    with monkeypatch.context() as small:
        free = shutil.disk_usage(tmp_path)._replace(free=1000)
        small.setattr(shutil, "disk_usage", lambda path: free)
        with pytest.raises(StorageError, match="will take"):
            write(made, tmp_path / "model.gguf")
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(PennyweightError, match="no room") as caught:
            write(made, tmp_path / "model.gguf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value, StorageError)
    assert not list(tmp_path.glob("model.gguf*"))


def test_a_file_that_is_there_is_replaced_only_by_force_and_two_do_not_write_one(models, tmp_path):
    import fcntl

    path, made = tmp_path / "model.gguf", plan(models / "llama")
    path.write_text("mine")
    with pytest.raises(BadInputError, match="already"):
        write(made, path)
    with pytest.raises(BadInputError, match="folder"):
        write(made, tmp_path)
    aside = tmp_path / "model.gguf.unfinished"
    with aside.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="Another process"):
            write(made, path, force=True)
    assert path.read_text() == "mine"
    write(made, path, force=True)
    assert path.stat().st_size == made.byte
    assert not aside.exists()


def test_a_single_changed_byte_is_found_when_it_is_read_back(models, tmp_path):
    path, made = tmp_path / "model.gguf", plan(models / "llama", "q8_0")
    write(made, path)
    whole = bytearray(path.read_bytes())
    begins = next(e for e in gguf.GGUFReader(path).tensors if e.name == "blk.1.attn_k.weight").data_offset
    whole[begins + 70] ^= 64
    path.write_bytes(whole)
    with pytest.raises(CorruptError, match=r"blk\.1\.attn_k\.weight"):
        compare(made, path)
    path.write_bytes(whole.replace(b"blk.0.attn_q", b"blk.0.attn_x"))
    with pytest.raises(CorruptError, match="another model"):
        compare(made, path)
    os.truncate(path, 100)
    with pytest.raises(CorruptError):
        compare(made, path)
