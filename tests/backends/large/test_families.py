"""The linear layers of a known architecture are exactly those that transformers' own model has in its blocks."""

import pytest

from pennyweight.backends.large.families import FAMILIES, family_of, is_any_linear
from pennyweight.errors import BadInputError

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "pad_token_id": 0,
}
DENSE = sorted(set(FAMILIES) - {"mixtral", "qwen3_moe"})  # the library fuses experts as it loads; files hold them apart


@pytest.mark.parametrize("kind", DENSE)
def test_linear_layers_are_those_of_the_model_itself(kind):
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **SMALL)
    family = FAMILIES[kind]
    with torch.device("meta"):
        model = (AutoModel if "bert" in kind or "roberta" in kind else AutoModelForCausalLM).from_config(config)
    inside, outside = set(), set()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            (inside if family.block_of(f"{name}.") is not None else outside).add(name)
    weights = dict(model.state_dict())
    found = {name.removesuffix(".weight") for name in weights if family.is_linear(name)}
    assert found == inside
    assert found
    assert all(any(name.endswith(head) for head in family.heads) for name in outside)
    for name in found:
        rows, columns = weights[f"{name}.weight"].shape
        assert family.is_read(f"{name}.weight") <= (columns == 32)
        assert family.is_write(f"{name}.weight") <= (rows == 32)
        assert family.is_read(f"{name}.weight") or family.is_write(f"{name}.weight")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mixtral", "model.layers.3.block_sparse_moe.experts.7.w2.weight"),
        ("qwen3_moe", "model.layers.10.mlp.experts.127.gate_proj.weight"),
    ],
)
def test_experts_are_linear_layers_and_their_routers_are_not(kind, name):
    family = family_of({"model_type": kind})
    assert family.is_linear(name)
    assert family.block_of(name) in {3, 10}
    router = "block_sparse_moe.gate" if kind == "mixtral" else "mlp.gate"
    assert not family.is_linear(f"model.layers.3.{router}.weight")


def test_what_is_not_known_is_refused_with_what_is():
    with pytest.raises(BadInputError, match="llama, mistral, mixtral"):
        family_of({"model_type": "mamba"})


@pytest.mark.parametrize(
    "name", ["a.embed_tokens", "b.input_layernorm", "lm_head", "transformer.wte", "h.0.ln_1", "mlp.gate"]
)
def test_by_name_alone_embeddings_norms_heads_and_routers_are_left_alone(name):
    assert not is_any_linear(f"{name}.weight")
    assert is_any_linear("decoder.layers.0.mixer.in_proj.weight")
