"""Tokens that a text does not need go; the text is split as before, and any other text is still encoded."""

import json

import numpy as np
import pytest
import torch
from llamas import TEXT, settings_of, tokenizer, write_llama
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, normalizers, processors

from pennyweight.engine.cutting import Wish, cut, plan
from pennyweight.errors import BadInputError, NoEffectError

SMALL = TEXT[:90] + "<|user|>"
LAST = "漢"
ODD = "Ünïcode, 漢字 & 🙂 — and\ttabs<|end|>"


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(SMALL)
    return path


def opened(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def tokens_of(folder, text):
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = made.encode(text)
    return found.tokens, found.ids, made.decode(found.ids, skip_special_tokens=False)


def sentencepiece(folder, *, fallback=True):
    """Make the tokenizer of a folder one as Llama 2 has it: words begin with a mark, bytes stand in for the unknown."""
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{number:02X}>" for number in range(256)] * fallback
    letters = [*sorted(set(TEXT.replace(" ", "▁").replace("\n", ""))), *map(chr, range(0x4E00, 0x4E3C)), LAST]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("e", "r"), ("i", "n"), ("w", "e"), ("i", "l"), ("l", "l")]
    vocabulary = {each: at for at, each in enumerate([*pieces, *letters, *("".join(pair) for pair in merges)])}
    made = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=fallback))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    made.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


@pytest.mark.parametrize(("family", "tied"), [("llama", False), ("qwen3", True), ("gemma2", True), ("phi", False)])
def test_the_text_is_the_same_tokens_and_answers_are_the_same(tmp_path, text, family, tied):
    from transformers import AutoModelForCausalLM

    given, out = write_llama(tmp_path / "given", family=family, tied=tied), tmp_path / "out"
    receipt = cut(plan(given, Wish(vocab=text)), out)
    (before, old, _), (after, new, back) = tokens_of(given, SMALL), tokens_of(out, SMALL)
    assert before == after
    assert back == SMALL
    count = settings_of(out)["vocab_size"]
    assert count % 64 == 0
    assert receipt.dropped.tokens == settings_of(given)["vocab_size"] - count > 0
    models_ = [AutoModelForCausalLM.from_pretrained(each, local_files_only=True).eval() for each in (given, out)]
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits for model, ids in zip(models_, (old, new), strict=True)]
    torch.testing.assert_close(logits[0][..., old], logits[1][..., new])
    assert sum(each.numel() for each in models_[1].parameters()) == receipt.after.parameters


def test_any_other_text_is_still_encoded_and_decoded(tmp_path, text):
    given, out = write_llama(tmp_path / "given"), tmp_path / "out"
    cut(plan(given, Wish(vocab=text)), out)
    for each in (ODD, TEXT):
        assert tokens_of(out, each)[2] == each
    old, new = opened(given), opened(out)
    assert new.vocab_size == settings_of(out)["vocab_size"]
    for role in ("bos_token", "eos_token", "pad_token", "mask_token"):
        assert getattr(old, role) == getattr(new, role)
        assert new.convert_ids_to_tokens(getattr(new, f"{role}_id")) == getattr(old, role)
    assert settings_of(out)["pad_token_id"] == new.pad_token_id
    talk = [{"role": "user", "content": "What is it worth?"}]
    told = [each.convert_ids_to_tokens(each.apply_chat_template(talk)["input_ids"]) for each in (old, new)]
    assert told[1][0] == "<|user|>"
    assert "".join(told[0]) == "".join(told[1])


def test_rows_of_the_embedding_are_those_of_the_tokens_that_stay(tmp_path, text):
    given, out = write_llama(tmp_path / "given", dtype="bfloat16"), tmp_path / "out"
    made = plan(given, Wish(vocab=text))
    cut(made, out)
    old = Tokenizer.from_file(str(given / "tokenizer.json"))
    new = Tokenizer.from_file(str(out / "tokenizer.json"))
    before, after = load_file(given / "model.safetensors"), {}
    for file in out.glob("*.safetensors"):
        after |= load_file(file)
    assert before.keys() == after.keys()
    for token, number in new.get_vocab().items():
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(after[name][number], before[name][old.token_to_id(token)])
    assert sorted(new.get_vocab().values()) == list(range(len(made.words.kept)))


def test_tokens_joined_of_several_ways_stay_with_all_that_leads_to_them(tmp_path):
    rng = np.random.default_rng(0)
    given = write_llama(tmp_path / "given")
    words = TEXT.split()
    for seed in range(8):
        path, out = tmp_path / f"{seed}.txt", tmp_path / f"out{seed}"
        path.write_text("".join(rng.permutation(list("".join(rng.permutation(words)[: 2 * seed + 1])))))
        made = plan(given, Wish(vocab=path))
        cut(made, out)
        assert tokens_of(given, path.read_text())[0] == tokens_of(out, path.read_text())[0]


def test_bytes_stand_in_for_letters_that_went(tmp_path, text):
    given, out = write_llama(tmp_path / "given", vocabulary=384), tmp_path / "out"
    sentencepiece(given)
    text.write_text("the miller well")
    cut(plan(given, Wish(vocab=text)), out)
    kept = Tokenizer.from_file(str(out / "tokenizer.json")).get_vocab()
    assert {"▁the", "<0x00>", "<0xFF>", "</s>"} <= kept.keys()
    assert LAST not in kept
    assert tokens_of(given, "the miller well")[0] == tokens_of(out, "the miller well")[0]
    assert tokens_of(out, "the 漢")[0] == ["<s>", "▁the", "▁", "<0xE6>", "<0xBC>", "<0xA2>"]
    assert tokens_of(out, "the 漢")[1][0] == settings_of_post(out)


def settings_of_post(folder):
    said = json.loads((folder / "tokenizer.json").read_text())["post_processor"]
    return said["special_tokens"]["<s>"]["ids"][0]


def test_without_bytes_every_letter_stays(tmp_path, text):
    given = write_llama(tmp_path / "given", vocabulary=384)
    sentencepiece(given, fallback=False)
    text.write_text("the miller")
    made = plan(given, Wish(vocab=text))
    assert LAST in json.loads(made.words.files["tokenizer.json"])["model"]["vocab"]


def test_other_files_of_the_old_numbers_do_not_stay(tmp_path, text):
    given, out = write_llama(tmp_path / "given"), tmp_path / "out"
    (given / "vocab.json").write_text("{}")
    (given / "merges.txt").write_text("#")
    (given / "LICENSE").write_text("as you like")
    said = settings_of(given) | {"eos_token_id": [0, 5], "suppress_tokens": [0, 383]}
    (given / "config.json").write_text(json.dumps(said))
    cut(plan(given, Wish(vocab=text)), out)
    assert not (out / "vocab.json").exists()
    assert not (out / "merges.txt").exists()
    assert (out / "LICENSE").read_text() == "as you like"
    assert settings_of(out)["eos_token_id"] == [0, 5]
    assert settings_of(out)["suppress_tokens"] == [0]


def test_what_is_no_byte_pair_tokenizer_is_refused(tmp_path, text):
    given = write_llama(tmp_path / "given")
    path = given / "tokenizer.json"
    body = json.loads(path.read_text())
    for change, problem in (
        ({"type": "WordPiece"}, "of the kind 'WordPiece'"),
        ({"end_of_word_suffix": "</w>"}, "has end_of_word_suffix"),
        ({"vocab": 3}, "nothing sensible"),
        ({"vocab": {"a": 0, "b": 0}}, "one number"),
    ):
        path.write_text(json.dumps(body | {"model": body["model"] | change}))
        with pytest.raises(BadInputError, match=problem):
            plan(given, Wish(vocab=text))
    path.write_text("{")
    with pytest.raises(BadInputError, match="is not JSON"):
        plan(given, Wish(vocab=text))
    path.unlink()
    with pytest.raises(BadInputError, match=r"no tokenizer\.json"):
        plan(given, Wish(vocab=text))


def test_texts_and_models_that_do_not_go_together_are_refused(tmp_path, text):
    given = write_llama(tmp_path / "given", vocabulary=320)
    text.write_text(TEXT)
    with pytest.raises(NoEffectError, match="needs all of the 320 tokens"):
        plan(given, Wish(vocab=text))
    tokenizer(384).save_pretrained(given)
    with pytest.raises(BadInputError, match="knows the token 383, but the model only 320"):
        plan(given, Wish(vocab=text))
    text.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadInputError, match="no UTF-8"):
        plan(write_llama(tmp_path / "other"), Wish(vocab=text))
    text.write_text(" \n")
    with pytest.raises(BadInputError, match="is empty"):
        plan(tmp_path / "other", Wish(vocab=text))
    with pytest.raises(BadInputError, match="is no file"):
        Wish(vocab=tmp_path / "none.txt")
