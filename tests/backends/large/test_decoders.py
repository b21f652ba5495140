"""A block computed alone, with weights given by hand, is the block that transformers computes within the model."""

import json

import pytest
import torch
from llamas import settings_of, write_llama
from safetensors.torch import load_file

from pennyweight.backends.large.decoders import DECODERS, Decoder
from pennyweight.errors import BadInputError


def blocks_of(folder, layers=2):
    weights = load_file(folder / "model.safetensors")
    for number in range(layers):
        start = f"model.layers.{number}."
        yield number, {name.removeprefix(start): each for name, each in weights.items() if name.startswith(start)}


@pytest.mark.parametrize("family", sorted(DECODERS))
def test_blocks_one_by_one_are_the_whole_model(tmp_path, family):
    from transformers import AutoModelForCausalLM

    folder = write_llama(tmp_path / family, family=family, noise=1.0)
    if family == "mistral":
        said = settings_of(folder) | {"sliding_window": 7}
        (folder / "config.json").write_text(json.dumps(said))
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    tokens = torch.randint(0, 300, (1, 40))
    decoder, states = Decoder(settings_of(folder)), model.model.embed_tokens(tokens)[0].detach()
    with torch.no_grad():
        for number, weights in blocks_of(folder):
            states = decoder.run(decoder.block(number, weights), number, states)
        wanted = model(tokens, output_hidden_states=True)
        logits = model.lm_head(model.model.norm(states))
    assert logits == pytest.approx(wanted.logits[0], abs=2e-4)
    assert logits.std() > 0.01


def test_other_families_are_refused_with_those_that_are_not(tmp_path):
    with pytest.raises(BadInputError, match=r"'gemma2' cannot.*llama, mistral, qwen2, qwen3"):
        Decoder({"model_type": "gemma2"})


def test_a_block_that_lacks_a_weight_or_has_one_of_another_shape_is_named(tmp_path):
    folder = write_llama(tmp_path / "llama")
    decoder, (_, weights) = Decoder(settings_of(folder)), next(blocks_of(folder))
    with pytest.raises(BadInputError, match=r"'mlp\.up_proj\.weight'"):
        decoder.block(0, {name: each for name, each in weights.items() if "up" not in name})
    with pytest.raises(BadInputError, match=r"'input_layernorm\.weight'"):
        decoder.block(0, weights | {"input_layernorm.weight": torch.ones(3)})


def test_a_config_that_says_nonsense_is_a_sentence_and_code_of_a_folder_is_never_named(tmp_path):
    said = settings_of(write_llama(tmp_path / "llama"))
    with pytest.raises(BadInputError, match="no llama"):
        Decoder(said | {"hidden_size": "wide"})
    foreign = {"auto_map": {"AutoModel": "evil.Evil"}, "_attn_implementation": "evil/kernel", "trust_remote_code": True}
    assert Decoder(said | foreign).hidden == 64
