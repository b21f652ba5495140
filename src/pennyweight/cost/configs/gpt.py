"""GPT and its relatives: two matrices per block, norms and mostly everything else with biases."""

from __future__ import annotations

from dataclasses import replace

from pennyweight.cost.configs.keys import Facts, Family, Keys, base


def gpt2(keys: Keys) -> Facts:
    """GPT-2, GPT-3, StarCoder: learned positions, embeddings tied."""
    facts = _plain(keys)
    shared = 1 if keys.true("multi_query") else 0
    return (
        facts
        | {"tied": keys.true("tie_word_embeddings", default=True), "bias": True, "kv_heads": shared}
        | {"positions": facts["max_context"]}
    )


def gpt_neo(keys: Keys) -> Facts:
    """GPT-Neo: no biases on queries, keys and values; every other layer with a window of 256."""
    facts = _plain(keys)
    kinds = [kind for pattern, times in keys.items("attention_types") for kind in pattern * int(times)]
    some = {"window": keys.number("window_size", 256), "window_layers": kinds.count("local")}
    biases = {"out_bias": True, "ffn_bias": True, "norm_bias": True}
    return facts | biases | some | {"tied": True, "positions": facts["max_context"]}


def gptj(keys: Keys) -> Facts:
    """GPT-J: one norm before both blocks, no biases in attention, one on the logits."""
    return _plain(keys) | {"norms": 1, "ffn_bias": True, "norm_bias": True, "end_bias": True, "positions": 0}


def gpt_neox(keys: Keys) -> Facts:
    """GPT-NeoX and Pythia: rotary, biases everywhere, embeddings apart."""
    attention = keys.true("attention_bias", default=True)
    biases = {"qkv_bias": attention, "out_bias": attention, "ffn_bias": True, "norm_bias": True}
    return _plain(keys) | biases | {"tied": keys.true("tie_word_embeddings")}


def phi(keys: Keys) -> Facts:
    """Phi 1 to 2: one norm before both blocks, biases everywhere."""
    facts = _plain(keys) | {"bias": True, "end_bias": True, "norms": 1, "qk_norm": keys.true("qk_layernorm")}
    return facts | {"kv_heads": keys.number("num_key_value_heads", 0)}


def opt(keys: Keys) -> Facts:
    """OPT: learned positions after two that are never used; the smallest but one embeds narrowly."""
    facts = _plain(keys)
    last = keys.true("do_layer_norm_before", default=True) and not keys.true("_remove_final_layer_norm")
    return facts | {
        "tied": keys.true("tie_word_embeddings", default=True),
        "bias": keys.true("enable_bias", default=True),
        "norm_bias": True,
        "positions": facts["max_context"] + 2,
        "embed_dim": keys.number("word_embed_proj_dim", 0),
        "end_norms": int(last),
    }


def bloom(keys: Keys) -> Facts:
    """BLOOM: no positions to learn, a norm after the embedding."""
    return _plain(keys) | {"tied": True, "bias": True, "end_norms": 2}


def falcon(keys: Keys) -> Facts:
    """Falcon: one key-value head, or a group of them; norms have biases."""
    new = keys.true("new_decoder_architecture")
    beside = keys.number("num_ln_in_parallel_attn", 2) if new else 1
    facts = _plain(keys)
    heads = keys.number("num_key_value_heads", facts["heads"]) if new else int(keys.true("multi_query", default=True))
    return facts | {
        "kv_heads": heads,
        "tied": keys.true("tie_word_embeddings", default=True),
        "bias": keys.true("bias"),
        "norm_bias": True,
        "norms": beside if keys.true("parallel_attn", default=True) else 2,
    }


def mpt(keys: Keys) -> Facts:
    """MPT: no biases, norms included; ALiBi instead of learned positions where that is on."""
    attention = keys.part("attn_config")
    hidden = keys.number("hidden_size")
    kinds = {"multiquery_attention": 1, "grouped_query_attention": attention.number("num_key_value_heads", 0)}
    wide = int(keys.get("expansion_ratio", 4) * hidden)
    facts = _plain(replace(keys, defaults={"intermediate_size": wide}))
    learned = keys.true("learned_pos_emb", default=True) and not attention.true("alibi") and not attention.true("rope")
    return facts | {
        "kv_heads": kinds.get(str(attention.get("attn_type")), 0),
        "gated": keys.part("ffn_config").get("ffn_type") == "mptglu",
        "tied": keys.true("tie_word_embeddings", default=True),
        "bias": not keys.true("no_bias", default=True),
        "qk_norm": attention.true("qk_ln"),
        "wide_qk_norm": True,
        "positions": facts["max_context"] if learned else 0,
    }


def _plain(keys: Keys) -> Facts:
    hidden = keys.number("hidden_size")
    return base(keys) | {"kv_heads": 0, "ffn": keys.number("intermediate_size", 4 * hidden), "gated": False}


FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode"), gpt2),
    "gpt_neo": gpt_neo,
    **dict.fromkeys(("gptj", "codegen"), gptj),
    "gpt_neox": gpt_neox,
    "phi": phi,
    "opt": opt,
    "bloom": bloom,
    **dict.fromkeys(("falcon", "RefinedWeb", "RefinedWebModel"), falcon),
    "mpt": mpt,
}
