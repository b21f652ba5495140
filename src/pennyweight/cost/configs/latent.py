"""DeepSeek and its relatives: latent attention, many small experts, tokens chosen by an index."""

from __future__ import annotations

from pennyweight.cost.configs.keys import Facts, Family, Keys
from pennyweight.cost.configs.llama import dense
from pennyweight.cost.configs.mixtures import experts_of


def latent_of(keys: Keys) -> Facts:
    """The widths of latent attention (MLA)."""
    return {
        "kv_heads": 0,
        "head_dim": 0,
        "q_rank": keys.number("q_lora_rank", 0),
        "kv_rank": keys.number("kv_lora_rank"),
        "rope_dim": keys.number("qk_rope_head_dim"),
        "nope_dim": keys.number("qk_nope_head_dim"),
        "v_dim": keys.number("v_head_dim"),
    }


def deepseek_moe(keys: Keys) -> Facts:
    """DeepSeek-MoE, before latent attention."""
    return {**dense(keys), **experts_of(keys)}


def deepseek(keys: Keys) -> Facts:
    """DeepSeek-V2 and V3, Kimi K2: the first layers dense, shared experts, an index if one is said."""
    facts = {**deepseek_moe(keys), **latent_of(keys)}
    if not keys.get("index_topk"):
        return facts
    listed = keys.items("indexer_types")[: facts["layers"]]
    return facts | {
        "index_layers": sum(each == "full" for each in listed) if listed else facts["layers"],
        "index_heads": keys.number("index_n_heads"),
        "index_dim": keys.number("index_head_dim"),
        "index_topk": keys.number("index_topk"),
    }


def deepseek_v4(keys: Keys) -> Facts:
    """DeepSeek-V4: one key that is its own value, most layers keep one vector of every few tokens, with an index.

    What compresses, and the several streams between the layers, are small and not counted.
    """
    layers = keys.number("num_hidden_layers")
    ratios = [int(each) for each in keys.items("compress_ratios")[:layers]]
    fine = [each for each in ratios if 0 < each < 64]
    kept = sum(1 / each for each in ratios if each) / layers if ratios else 1.0
    body = {**keys.body, "intermediate_size": keys.number("moe_intermediate_size"), "sliding_window": 0}
    plain = Keys(keys.name, body, keys.defaults)
    return {
        **deepseek_moe(plain),
        "q_rank": keys.number("q_lora_rank"),
        "kv_matrices": 1,
        "kv_cached": 1,
        "kept": kept,
        "index_layers": len(fine),
        "index_heads": keys.number("index_n_heads"),
        "index_dim": keys.number("index_head_dim"),
        "index_topk": keys.number("index_topk"),
        "index_kept": sum(1 / each for each in fine) / len(fine) if fine else 1.0,
        "out_rank": keys.number("o_lora_rank"),
        "out_groups": keys.number("o_groups"),
        "router_bias": True,
    }


FAMILIES: dict[str, Family] = {
    "deepseek": deepseek_moe,
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa"), deepseek),
    "deepseek_v4": deepseek_v4,
}
