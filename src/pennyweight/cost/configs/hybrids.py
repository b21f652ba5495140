"""Models in which some layers mix tokens by a linear recurrence: Mamba-2, gated delta rule, lightning attention."""

from __future__ import annotations

from dataclasses import replace

from pennyweight.cost.configs.keys import Facts, Family, Keys, base
from pennyweight.cost.configs.latent import latent_of
from pennyweight.cost.configs.llama import dense, qwen3
from pennyweight.cost.configs.mixtures import experts_of
from pennyweight.errors import BadInputError


def qwen3_next(keys: Keys) -> Facts:
    """Qwen3-Next and Qwen3.5: three of four layers follow the gated delta rule (arXiv 2412.06464)."""
    facts = qwen3(replace(keys, defaults={"intermediate_size": 0}))
    layers = facts["layers"]
    listed = keys.items("layer_types")[:layers]
    full = sum(each == "full_attention" for each in listed) or layers // keys.number("full_attention_interval", 4)
    facts |= {"attention_gate": keys.true("attn_output_gate", default=True), "linear_layers": layers - full}
    facts |= _delta_rule(keys)
    if not keys.get("num_experts"):
        return facts
    shared = keys.number("shared_expert_intermediate_size", 0)
    return facts | experts_of(keys) | {"shared_ffn": shared, "shared_gate": True}


def _delta_rule(keys: Keys) -> Facts:
    key_heads, value_heads = keys.number("linear_num_key_heads"), keys.number("linear_num_value_heads")
    key_dim, value_dim = keys.number("linear_key_head_dim"), keys.number("linear_value_head_dim")
    narrow, wide = key_heads * key_dim, value_heads * value_dim
    convolved = 2 * narrow + wide
    return {
        "linear_in": convolved + wide + 2 * value_heads,
        "linear_out": wide,
        "linear_extra": convolved * keys.number("linear_conv_kernel_dim") + 2 * value_heads + value_dim,
        "linear_state": value_heads * key_dim * value_dim,
    }


def nemotron_h(keys: Keys) -> Facts:
    """Nemotron-H and Nemotron 3: each layer is one of Mamba-2 (M), attention (*), dense (-) or experts (E)."""
    pattern = _pattern(keys)
    mamba, attention = pattern.count("M"), pattern.count("*")
    plain, sparse = pattern.count("-"), pattern.count("E")
    facts = base(replace(keys, body={**keys.body, "num_hidden_layers": len(pattern)}))
    facts |= {
        "ffn": keys.number("intermediate_size"),
        "gated": False,
        "norms": 1,
        "mixerless": plain + sparse,
        "ffnless": mamba + attention,
        "linear_layers": mamba,
        "mtp_layers": keys.number("num_nextn_predict_layers", 0),
        **_mamba2(keys),
    }
    if not sparse:
        return facts
    shared = keys.number("moe_shared_expert_intermediate_size", 0) * keys.number("n_shared_experts", 1)
    experts = experts_of(replace(keys, body={**keys.body, "num_hidden_layers": len(pattern)}))
    latent = keys.number("moe_latent_size", 0)
    return facts | experts | {"shared_ffn": shared, "dense_layers": plain, "moe_hidden": latent, "router_bias": True}


def _pattern(keys: Keys) -> str:
    pattern = keys.get("hybrid_override_pattern")
    if pattern:
        return str(pattern)
    letters = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
    listed = [letters.get(str(each), "?") for each in keys.items("layers_block_type")]
    if not listed or "?" in listed:
        raise BadInputError(
            f"The config of {keys.name} does not say what its layers are.",
            "add hybrid_override_pattern, a letter per layer: M Mamba, * attention, - dense, E experts.",
        )
    return "".join(listed)


def _mamba2(keys: Keys) -> Facts:
    """A Mamba-2 mixer (arXiv 2405.21060)."""
    heads, state = keys.number("mamba_num_heads"), keys.number("ssm_state_size")
    inner = heads * keys.number("mamba_head_dim")
    convolved = inner + 2 * keys.number("n_groups") * state
    kernel = keys.number("conv_kernel", 4) + keys.true("use_conv_bias", default=True)
    return {
        "linear_in": inner + convolved + heads,
        "linear_out": inner,
        "linear_extra": convolved * kernel + 3 * heads + inner,
        "linear_state": inner * state,
    }


def minimax_01(keys: Keys) -> Facts:
    """MiniMax-01 and M1: seven of eight layers have lightning attention with an output gate (arXiv 2501.08313)."""
    facts = {**dense(keys), **experts_of(keys, keys.number("intermediate_size"))}
    wide = facts["heads"] * facts["head_dim"]
    listed = keys.items("attn_type_list")[: facts["layers"]]
    named = keys.items("layer_types")[: facts["layers"]]
    linear = sum(not each for each in listed) if listed else sum(each == "linear_attention" for each in named)
    return facts | {
        "linear_layers": linear,
        "linear_in": 4 * wide,
        "linear_out": wide,
        "linear_extra": wide,
        "linear_state": wide * facts["head_dim"],
    }


def kimi_linear(keys: Keys) -> Facts:
    """Kimi Linear and K3: three of four layers follow the Kimi delta rule, the others have latent attention."""
    linear = keys.part("linear_attn_config")
    heads, width = linear.number("num_heads"), linear.number("head_dim")
    wide = heads * width
    gate = wide if linear.true("use_full_rank_gate") else width
    low = 2 * wide * width if not linear.true("use_full_rank_gate") else wide * width
    facts = {**dense(keys), **experts_of(keys), **latent_of(keys)}
    return facts | {
        "attention_gate": keys.true("mla_use_output_gate"),
        "moe_hidden": keys.number("routed_expert_hidden_size", 0),
        "router_bias": True,
        "linear_layers": len(linear.items("kda_layers")),
        "linear_in": 3 * wide + heads + width + gate,
        "linear_out": wide,
        "linear_extra": 3 * wide * linear.number("short_conv_kernel_size") + low + heads + wide + width,
        "linear_state": wide * width,
    }


FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), qwen3_next),
    "nemotron_h": nemotron_h,
    **dict.fromkeys(("minimax", "minimax_text_01", "minimax_m1"), minimax_01),
    **dict.fromkeys(("kimi_linear", "kimi_k3"), kimi_linear),
}
