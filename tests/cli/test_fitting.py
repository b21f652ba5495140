"""`pennyweight fit` as a user meets it: real processes and files."""

import json

import pytest
from processes import call

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


def test_a_folder_of_hugging_face_is_told_for_every_device(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(CONFIG))
    code, out, err = call(tmp_path, "fit", "./mine", "--on", "l4", "a100-80gb", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [each["accelerator"] for each in found["training"]] == ["l4", "a100-80gb"]
    assert [each["verdict"] for each in found["serving"]] == ["fits", "fits"]
    for each in found["training"] + found["serving"]:
        assert sum(each["parts"].values()) == pytest.approx(each["total_byte"])


def test_the_table_says_what_fills_memory_and_which_change_helps(tmp_path):
    code, out, err = call(tmp_path, "fit", "llama-3.1-8b", "--on", "l4,a100-80gb", "--train", "--recompute", "full")
    assert code == 0, err
    for word in ("optimizer", "activations", "does not fit", "l4: would fit with", "a100-80gb: would fit with zero 3"):
        assert word in out
    assert "cache" not in out


def test_serving_can_be_asked_alone(tmp_path):
    code, out, _ = call(tmp_path, "fit", "llama-3.1-8b", "--serve", "--on", "l4", "--batch", 64)
    assert code == 0
    assert "optimizer" not in out
    assert "would fit with" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch", "--on", "l4"], "no model named"),
        (["llama-3.1-8b", "--on", "l4x"], "no accelerator named"),
        (["llama-3.1-8b", "--on", "l4", "--tp", 3], "heads"),
        (["llama-3.1-8b", "--on", "l4", "--recompute", "some"], "recompute"),
        (["llama-3.1-8b", "--on", "l4", "--utilization", 2], "share"),
        (["llama-3.1-8b"], "--on"),
    ],
)
def test_bad_words_are_refused_in_a_sentence_with_a_fix(tmp_path, words, said):
    code, out, err = call(tmp_path, "fit", *words)
    assert code == 2
    assert not out
    assert said in err
    assert "To fix:" in err
    assert "Traceback" not in err
