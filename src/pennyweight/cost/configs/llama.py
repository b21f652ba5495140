"""Llama and its dense relatives: RMS norms, gated feed-forward blocks, rotary positions."""

from __future__ import annotations

from dataclasses import replace

from pennyweight.cost.configs.keys import Facts, Family, Keys, base, windows

_GEMMA = {"tie_word_embeddings": True, "head_dim": 256}
_GEMMA3 = {
    **_GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}


def dense(keys: Keys) -> Facts:
    """Llama, Mistral, Yi, and what Qwen2, Phi-3, Gemma have in common with them."""
    facts = base(keys)
    attention = keys.true("attention_bias")
    return {
        **facts,
        **windows(keys, facts["layers"]),
        "ffn": keys.number("intermediate_size"),
        "tied": keys.true("tie_word_embeddings"),
        "qkv_bias": attention,
        "out_bias": attention,
        "ffn_bias": keys.true("mlp_bias"),
        "mtp_layers": keys.number("num_nextn_predict_layers", 0),
    }


def qwen2(keys: Keys) -> Facts:
    """Qwen2: biases on queries, keys and values; windows only if they are switched on."""
    facts = {**dense(keys), "qkv_bias": True, "out_bias": False}
    if not keys.true("use_sliding_window"):
        facts.pop("window", None)
        facts.pop("window_layers", None)
    return facts


def qwen3(keys: Keys) -> Facts:
    """Qwen3: queries and keys are normed, nothing has a bias unless it is said."""
    biased = keys.true("attention_bias")
    return {**qwen2(keys), "qkv_bias": biased, "out_bias": biased, "qk_norm": True}


def gemma(keys: Keys) -> Facts:
    """Gemma: heads wider than the stream, embeddings tied."""
    return dense(replace(keys, defaults=_GEMMA))


def gemma2(keys: Keys) -> Facts:
    """Gemma 2: norms before and after each block, every other layer with a window."""
    facts = gemma(replace(keys, body={"sliding_window": 4096, **keys.body}))
    if not keys.items("layer_types"):
        facts["window_layers"] = (facts["layers"] + 1) // 2
    return {**facts, "norms": 4}


def gemma3(keys: Keys) -> Facts:
    """Gemma 3: queries and keys normed as well, five of six layers with a window."""
    facts = dense(replace(keys, defaults=_GEMMA3))
    if not keys.items("layer_types"):
        every = keys.number("sliding_window_pattern", 6)
        facts["window_layers"] = facts["layers"] - facts["layers"] // every
    return {**facts, "norms": 4, "qk_norm": True}


def gemma4(keys: Keys) -> Facts:
    """Gemma 4: full layers have heads of their own, and values made by the matrix of the keys.

    With experts, the dense block stays beside them and is counted as a shared one. Layers with inputs of their own
    (the E models) are refused.
    """
    keys.refuse("hidden_size_per_layer_input", "num_kv_shared_layers", "use_double_wide_mlp")
    facts = dense(replace(keys, defaults=_GEMMA3))
    narrow = {"window_kv_heads": facts["kv_heads"], "window_head_dim": facts["head_dim"]}
    facts["kv_heads"] = keys.number("num_global_key_value_heads", facts["kv_heads"])
    facts["head_dim"] = keys.number("global_head_dim", facts["head_dim"])
    shared_matrix = 1 if keys.true("attention_k_eq_v") else 2
    facts |= {**narrow, "norms": 4, "qk_norm": True, "kv_matrices": shared_matrix}
    if not keys.true("enable_moe_block"):
        return facts
    experts = keys.number("num_experts")
    return facts | {
        "norms": 7,
        "experts": experts,
        "experts_per_token": keys.number("num_experts_per_tok"),
        "moe_ffn": keys.number("moe_intermediate_size"),
        "shared_ffn": facts["ffn"],
    }


def glm4(keys: Keys) -> Facts:
    """GLM-4: biases on queries, keys and values; the 0414 models have norms before and after each block."""
    norms = 4 if keys.get("model_type") == "glm4" else 2
    return {**dense(keys), "out_bias": False, "norms": norms}


def chatglm(keys: Keys) -> Facts:
    """ChatGLM 2 and 3 in their own key names."""
    facts = {**base(keys), "ffn": keys.number("intermediate_size"), "qkv_bias": keys.true("add_qkv_bias")}
    if not keys.true("multi_query_attention"):
        facts["kv_heads"] = 0
    return facts


def olmo(keys: Keys) -> Facts:
    """OLMo: norms that learn nothing."""
    return {**dense(keys), "norms": 0, "end_norms": 0}


def olmo2(keys: Keys) -> Facts:
    """OLMo 2 and 3: queries and keys normed over all heads."""
    return {**dense(keys), "qk_norm": True, "wide_qk_norm": True}


def cohere(keys: Keys) -> Facts:
    """Command R: one norm before both blocks; embeddings tied."""
    keys = replace(keys, defaults={"tie_word_embeddings": True})
    return {**dense(keys), "norms": 1, "qk_norm": keys.true("use_qk_norm"), "wide_qk_norm": True}


def nemotron(keys: Keys) -> Facts:
    """Nemotron 4 and Minitron: squared ReLU (two matrices), norms with biases."""
    return {**dense(keys), "gated": False, "norm_bias": True}


def starcoder2(keys: Keys) -> Facts:
    """StarCoder 2: two matrices, biases everywhere, embeddings tied."""
    keys = replace(keys, defaults={"tie_word_embeddings": True, "use_bias": True})
    return {**dense(keys), "gated": False, "bias": keys.true("use_bias"), "norm_bias": True}


def stablelm(keys: Keys) -> Facts:
    """StableLM 2: norms with biases, biases on queries, keys and values where said."""
    norms = 1 if keys.true("use_parallel_residual") else 2
    facts = {**dense(keys), "norm_bias": True, "norms": norms, "out_bias": False}
    return facts | {"qkv_bias": keys.true("use_qkv_bias")}


def nas(keys: Keys) -> Facts:
    """Nemotron found by architecture search: layers that lack a block, the others with the mean width of them all."""
    blocks = keys.items("block_configs")
    if not blocks:
        keys.number("block_configs")
    hidden = keys.number("hidden_size")
    wide = [
        _multiple_of_256(2 * block["ffn"]["ffn_mult"] * hidden / 3) for block in blocks if block["ffn"].get("ffn_mult")
    ]
    groups = [block["attention"]["n_heads_in_group"] for block in blocks if block["attention"].get("n_heads_in_group")]
    body = {**keys.body, "num_key_value_heads": keys.number("num_attention_heads") // groups[0]}
    facts = dense(replace(keys, body={**body, "intermediate_size": round(sum(wide) / len(wide))}))
    return facts | {"mixerless": len(blocks) - len(groups), "ffnless": len(blocks) - len(wide)}


def _multiple_of_256(width: float) -> int:
    return 256 * -(-int(width) // 256)


FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("llama", "mistral", "ministral", "phi3", "granite", "internlm2", "seed_oss"), dense),
    **dict.fromkeys(("qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "mimo"), qwen2),
    **dict.fromkeys(("qwen3", "qwen3_vl_text"), qwen3),
    "gemma": gemma,
    "gemma2": gemma2,
    **dict.fromkeys(("gemma3", "gemma3_text"), gemma3),
    **dict.fromkeys(("gemma4", "gemma4_text"), gemma4),
    **dict.fromkeys(("glm", "glm4"), glm4),
    "chatglm": chatglm,
    "olmo": olmo,
    **dict.fromkeys(("olmo2", "olmo3"), olmo2),
    **dict.fromkeys(("cohere", "cohere2"), cohere),
    "nemotron": nemotron,
    "nemotron-nas": nas,
    "starcoder2": starcoder2,
    "stablelm": stablelm,
}
