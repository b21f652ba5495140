"""Mixtures of experts with ordinary attention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.cost.configs.llama import dense, qwen2, qwen3

if TYPE_CHECKING:
    from pennyweight.cost.configs.keys import Facts, Family, Keys


def experts_of(keys: Keys, moe_ffn: int = 0) -> Facts:
    """Number and width of the experts; `moe_ffn` is for families that have no key for the width."""
    width = keys.number("moe_intermediate_size", moe_ffn or None)
    shared = keys.number("n_shared_experts", 0) * width
    return {
        "experts": keys.number("num_experts"),
        "experts_per_token": keys.number("num_experts_per_tok"),
        "moe_ffn": width,
        "shared_ffn": shared,
        "dense_layers": dense_layers(keys),
        "router_bias": keys.get("topk_method") == "noaux_tc" or keys.true("use_routing_bias"),
    }


def dense_layers(keys: Keys) -> int:
    """How many layers have no experts: the first few, or those that a list of layers says."""
    layers = keys.number("num_hidden_layers")
    listed = keys.items("moe_layer_freq")[:layers]
    if listed:
        return sum(not each for each in listed)
    step = keys.number("decoder_sparse_step", 1)
    only = set(keys.items("mlp_only_layers"))
    if step > 1 or only:
        return sum((layer + 1) % step > 0 or layer in only for layer in range(layers))
    return keys.number("first_k_dense_replace", 0)


def mixtral(keys: Keys) -> Facts:
    """Mixtral: every layer has experts as wide as a dense block would be."""
    return {**dense(keys), **experts_of(keys, keys.number("intermediate_size"))}


def qwen2_moe(keys: Keys) -> Facts:
    """Qwen2-MoE: a shared expert with a gate of its own."""
    shared = keys.number("shared_expert_intermediate_size", 0)
    return {**qwen2(keys), **experts_of(keys), "shared_ffn": shared, "shared_gate": True}


def qwen3_moe(keys: Keys) -> Facts:
    """Qwen3-MoE: no shared expert."""
    return {**qwen3(keys), **experts_of(keys)}


def gpt_oss(keys: Keys) -> Facts:
    """gpt-oss: biases in everything but the norms, a sink per head, every other layer with a window."""
    facts = {
        **dense(replace(keys, defaults={"attention_bias": True})),
        **experts_of(keys, keys.number("intermediate_size")),
    }
    if not keys.items("layer_types"):
        facts["window_layers"] = (facts["layers"] + 1) // 2
    return facts | {"ffn_bias": True, "router_bias": True, "sink_layers": facts["layers"]}


def llama4(keys: Keys) -> Facts:
    """Llama 4: experts in every layer or every other, one shared; three of four layers attend within chunks."""
    layers = keys.number("num_hidden_layers")
    step = keys.number("interleave_moe_layer_step", 1)
    listed = keys.items("moe_layers")
    sparse = len(listed) if listed else layers // step
    full = layers // (keys.number("no_rope_layer_interval", 4) or layers + 1)
    window = keys.number("attention_chunk_size", 0)
    width = keys.number("intermediate_size")
    return {
        **dense(keys),
        **experts_of(keys, width),
        "ffn": keys.number("intermediate_size_mlp"),
        "shared_ffn": width,
        "dense_layers": layers - sparse,
        "window": window,
        "window_layers": layers - full if window else 0,
    }


def minimax_m2(keys: Keys) -> Facts:
    """MiniMax-M2: queries and keys normed over all heads; no dense layers."""
    wide = keys.get("qk_norm_type") == "per_layer"
    facts = {**dense(keys), **experts_of(keys, keys.number("intermediate_size"))}
    return facts | {"qk_norm": keys.true("use_qk_norm"), "wide_qk_norm": wide}


def minimax_m3(keys: Keys) -> Facts:
    """MiniMax-M3: the first layers dense, the others choose blocks of tokens to attend to."""
    sparse = keys.part("sparse_attention_config")
    facts = minimax_m2(keys) | {"ffn": keys.number("dense_intermediate_size")}
    if not sparse.true("use_sparse_attention"):
        return facts
    chosen = sparse.number("sparse_topk_blocks") * sparse.number("sparse_block_size")
    return facts | {
        "index_layers": sum(bool(each) for each in sparse.items("sparse_attention_freq")) or facts["layers"],
        "index_heads": sparse.number("sparse_num_index_heads"),
        "index_dim": sparse.number("sparse_index_dim"),
        "index_topk": chosen,
    }


def glm4_moe(keys: Keys) -> Facts:
    """GLM-4.5: biases on queries, keys and values, the first layers dense."""
    facts = {**dense(keys), **experts_of(keys)}
    return facts | {"out_bias": False, "qk_norm": keys.true("use_qk_norm"), "router_bias": True}


def mimo_v2(keys: Keys) -> Facts:
    """MiMo-V2: values narrower than keys; layers with a window have more key-value heads, and sinks."""
    layers = keys.number("num_hidden_layers")
    narrow = sum(bool(each) for each in keys.items("hybrid_layer_pattern")[:layers])
    return {
        **dense(keys),
        **experts_of(keys),
        "v_dim": keys.number("v_head_dim"),
        "window_layers": narrow,
        "window_kv_heads": keys.number("swa_num_key_value_heads"),
        "window_head_dim": keys.number("swa_head_dim"),
        "sink_layers": narrow * keys.true("add_swa_attention_sink_bias"),
    }


def step3p7(keys: Keys) -> Facts:
    """Step-3.7-Flash: the first layers dense, three of four with a window; its further-token layers are not counted."""
    facts = {**dense(keys), **experts_of(keys)}
    shared = keys.number("share_expert_dim", facts["shared_ffn"])
    return facts | {"shared_ffn": shared, "router_bias": keys.true("use_moe_router_bias"), "mtp_layers": 0}


FAMILIES: dict[str, Family] = {
    "mixtral": mixtral,
    "qwen2_moe": qwen2_moe,
    **dict.fromkeys(("qwen3_moe", "qwen3_vl_moe_text"), qwen3_moe),
    "gpt_oss": gpt_oss,
    **dict.fromkeys(("llama4", "llama4_text"), llama4),
    "minimax_m2": minimax_m2,
    **dict.fromkeys(("minimax_m3", "minimax_m3_vl", "minimax_m3_text"), minimax_m3),
    "glm4_moe": glm4_moe,
    "mimo_v2_flash": mimo_v2,
    **dict.fromkeys(("step3p5", "step3p7"), step3p7),
}
