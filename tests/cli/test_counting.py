import json

import pytest
from processes import call


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counting")
    shape = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
    (folder / "small").mkdir()
    (folder / "small" / "config.json").write_text(json.dumps({"model_type": "gpt2", **shape}))
    return folder


def test_a_model_by_name_is_counted(place):
    code, out, err = call(place, "count", "llama-3-70b")
    assert code == 0, err
    for word in ("meta-llama/Meta-Llama-3-70B", "70,553,706,496", "141 GB in bf16", "328 kB per token"):
        assert word in out


def test_a_mixture_tells_what_is_active(place):
    code, out, _ = call(place, "count", "deepseek-v3", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["parameters"] == sum(facts["parts"].values()) == 671026419200
    assert facts["active_parameters"] == 37552297472
    assert facts["kv_byte_token"] == 2 * 61 * 576
    assert facts["weight_byte"]["fp8"] == 671026419200
    assert sum(facts["flop_token_parts"].values()) == pytest.approx(facts["flop_token"])


def test_a_folder_with_a_config_is_counted_over_the_context_asked_for(place):
    short, long = (
        json.loads(call(place, "count", "./small", "--context", context, "--json")[1]) for context in (128, 1024)
    )
    assert short["model"] == "small"
    assert short["parameters"] == 124439808
    assert short["kv_byte"] * 8 == long["kv_byte"]
    assert short["flop_token"] < long["flop_token"]


def test_an_encoder_keeps_no_cache(place):
    code, out, _ = call(place, "count", "bert-large")
    assert code == 0
    assert "KV cache" not in out
    assert "335,141,888" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("llama-3-71b",), "llama-3-70b"),
        (("./nowhere",), "cannot be read"),
        (("gpt2", "--context", "4096"), "reads 1024 tokens"),
        (("gpt2", "--context", "0"), "--help"),
        (("nothing.py",), "To fix"),
    ],
)
def test_what_cannot_be_counted_is_one_problem_and_a_fix(place, words, said):
    code, out, err = call(place, "count", *words)
    assert code == 2
    assert not out
    assert said in err
    assert len(err.splitlines()) == 1
