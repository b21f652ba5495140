import json
from contextlib import suppress

import pytest

from pennyweight.catalog.models import model
from pennyweight.cost.configs.families import FAMILIES
from pennyweight.cost.hf_config import dims_of, from_config
from pennyweight.cost.transformer import parameters
from pennyweight.errors import BadInputError, PennyweightError, UnknownNameError

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
LATENT = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
V3 = {
    **LATENT,
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "topk_method": "noaux_tc",
    "num_nextn_predict_layers": 1,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
}


def shape(kind, layers, hidden, heads, vocab, **more):
    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads, "vocab_size": vocab}
    return {"model_type": kind, "max_position_embeddings": 2048, **sizes, **more}


# Counts of the weights that these configs describe, as in the catalog.
EXACT = [
    (LLAMA, 8030261248),
    (shape("mistral", 32, 4096, 32, 32000, num_key_value_heads=8, intermediate_size=14336), 7241732096),
    ({**LLAMA, "model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2},
     46702792704),
    (shape("qwen2", 28, 3584, 28, 152064, num_key_value_heads=4, intermediate_size=18944), 7615616512),
    (shape("qwen3", 36, 4096, 32, 151936, num_key_value_heads=8, head_dim=128, intermediate_size=12288), 8190735360),
    (shape("gemma2", 26, 2304, 8, 256000, num_key_value_heads=4, head_dim=256, intermediate_size=9216), 2614341888),
    (shape("gpt2", 12, 768, 12, 50257, max_position_embeddings=1024), 124439808),
    (shape("gptj", 28, 4096, 16, 50400), 6050882784),
    (shape("gpt_neox", 44, 6144, 64, 50432, intermediate_size=24576), 20554567680),
    (shape("gpt_neo", 24, 2048, 16, 50257, attention_types=[[["global", "local"], 12]]), 1315575808),
    (shape("phi", 32, 2560, 32, 51200, intermediate_size=10240), 2779683840),
    (shape("opt", 24, 1024, 16, 50272, ffn_dim=4096, word_embed_proj_dim=512, do_layer_norm_before=False), 331196416),
    (shape("bloom", 70, 14336, 112, 250880), 176247271424),
    (shape("falcon", 32, 4544, 71, 65024, multi_query=True, parallel_attn=True), 6921720704),
    (shape("falcon", 60, 8192, 128, 65024, num_kv_heads=8, new_decoder_architecture=True), 41303293952),
    (shape("mpt", 32, 4096, 32, 50432, attn_config={"alibi": True}), 6649286656),
    (V3, 671026419200),
    (shape("bert", 24, 1024, 16, 30522, intermediate_size=4096, max_position_embeddings=512), 335141888),
    (shape("bert", 12, 768, 12, 30522, intermediate_size=3072, max_position_embeddings=512,
           architectures=["BertForMaskedLM"]), 109514298),
    (shape("roberta", 12, 768, 12, 50265, intermediate_size=3072, max_position_embeddings=514, type_vocab_size=1),
     124645632),
    (shape("vit", 12, 768, 12, 0, intermediate_size=3072, image_size=224, patch_size=16,
           architectures=["ViTForImageClassification"], num_labels=1000), 86567656),
    (shape("vit", 12, 768, 12, 0, intermediate_size=3072, image_size=224, patch_size=16), 86389248),
    (shape("clip_vision_model", 24, 1024, 16, 0, intermediate_size=4096, image_size=224, patch_size=14), 303179776),
]  # fmt: skip


@pytest.mark.parametrize(("config", "published"), EXACT, ids=lambda each: str(each)[:30])
def test_a_config_has_the_parameters_of_its_weights(config, published):
    assert parameters(from_config(config)) == published


def test_a_folder_a_file_and_a_name_give_the_same_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    folder, file = dims_of(str(tmp_path)), from_config(tmp_path / "config.json")
    assert folder == file
    assert folder.name == tmp_path.name
    assert parameters(folder) == parameters(dims_of("llama-3-8b"))


def test_a_file_of_another_name_is_called_after_itself(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(LLAMA))
    assert dims_of(str(tmp_path / "mine.json")).name == "mine"


def test_the_language_model_of_several_inputs_is_read():
    nested = {"model_type": "llava", "text_config": LLAMA, "vision_config": {"hidden_size": 1024}}
    assert parameters(from_config(nested)) == 8030261248
    older = {"model_type": "llama4", "text_config": {key: LLAMA[key] for key in LLAMA if key != "model_type"}}
    with pytest.raises(BadInputError, match="no num_experts"):
        from_config(older)


def test_a_nested_model_keeps_what_is_said_outside():
    nested = {"model_type": "llava", "text_config": LLAMA, "tie_word_embeddings": True}
    assert from_config(nested).tied


def test_mixed_layers_are_read():
    experts = {"num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2}
    scout = from_config({**LLAMA, "model_type": "llama4", **experts, "intermediate_size_mlp": 16384})
    assert (scout.dense_layers, scout.moe_ffn, scout.ffn, scout.window_layers) == (16, 14336, 16384, 0)
    layers = ["sliding_attention", "full_attention"] * 16
    oss = from_config({**LLAMA, "model_type": "gpt_oss", **experts, "sliding_window": 128, "layer_types": layers})
    assert (oss.window_layers, oss.sink_layers, oss.qkv_bias) == (16, 32, True)
    gemma = from_config({**LLAMA, "model_type": "gemma3_text", "sliding_window": 512})
    assert (gemma.window, gemma.window_layers, gemma.norms) == (512, 27, 4)
    assert gemma.tied


def test_a_hybrid_pattern_says_what_each_layer_is():
    mamba = {"mamba_num_heads": 8, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8}
    body = {**LLAMA, "model_type": "nemotron_h", **mamba, "hybrid_override_pattern": "M-M*-"}
    d = from_config(body)
    assert (d.layers, d.linear_layers, d.mixerless, d.ffnless, d.attention_layers) == (5, 2, 2, 3, 1)
    with pytest.raises(BadInputError, match="does not say what its layers are"):
        from_config({**body, "hybrid_override_pattern": None})


@pytest.mark.parametrize("missing", ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"])
def test_a_missing_key_is_named(missing):
    with pytest.raises(BadInputError, match=f"has no {missing}") as caught:
        from_config({key: value for key, value in LLAMA.items() if key != missing})
    assert missing in caught.value.fix


@pytest.mark.parametrize("wrong", ["many", 2.5, -1, True, [4], float("inf"), float("nan")])
def test_what_is_no_number_is_named(wrong):
    with pytest.raises(BadInputError, match="num_hidden_layers = "):
        from_config({**LLAMA, "num_hidden_layers": wrong})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({**LLAMA, "model_type": "lama"}, "'lama', which is not known.*llama"),
        ({**LLAMA, "model_type": None}, "no model_type"),
        ({**LLAMA, "model_type": "t5", "is_encoder_decoder": True}, "'t5', whose layers are not counted"),
        ({**LLAMA, "model_type": "clip"}, "its own part of the config"),
        ({**LLAMA, "model_type": "gemma4_text", "hidden_size_per_layer_input": 256}, "which is not counted"),
        ({**LLAMA, "num_key_value_heads": 5}, "cannot share"),
        ({}, "no model_type"),
    ],
)
def test_what_cannot_be_counted_is_said_with_a_fix(config, said):
    with pytest.raises(BadInputError, match=said):
        from_config(config)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "nan", '"llama"', "[" * 100_000, "\x00"])
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInputError):
        from_config(tmp_path)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        dims_of(str(tmp_path / "nowhere" / "config.json"))
    with pytest.raises(UnknownNameError, match=r"llama-3-70b.*or a folder with a config\.json"):
        dims_of("llama-3-71b")


ODD = [
    *("layer_types", "moe_layer_freq", "block_configs", "attn_config", "sliding_window", "id2label", "head_dim"),
    *("hybrid_override_pattern", "attention_types", "compress_ratios", "linear_attn_config", "layers_block_type"),
    *("n_shared_experts", "rope_scaling", "quantization_config"),
]


@pytest.mark.parametrize("kind", sorted(FAMILIES))
@pytest.mark.parametrize("value", [None, "x", [], {}, [[]], [1e400], 0])
def test_odd_values_of_any_family_end_in_a_model_or_in_a_sentence(kind, value):
    body = {**LLAMA, **V3, "model_type": kind}
    for key in ODD:
        with suppress(PennyweightError):
            assert parameters(from_config({**body, key: value})) > 0


def test_catalog_names_are_models_too():
    assert dims_of("mixtral-8x7b") is model("mistralai/Mixtral-8x7B-v0.1")
