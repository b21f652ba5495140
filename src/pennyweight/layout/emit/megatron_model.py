"""A model's dimensions as arguments of Megatron-LM's `pretrain_gpt.py`; what it cannot express is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims
    from pennyweight.layout.emit.shell import Option

_VOCAB_STEP = 128


def model_options(dims: Dims, sequence: int) -> list[Option]:
    """The arguments that make this model; raises `BadInputError` for one that they cannot make."""
    _check(dims)
    longest = max(dims.positions or dims.max_context, sequence)
    options: list[Option] = [
        ("--num-layers", dims.layers),
        ("--hidden-size", dims.hidden),
        ("--num-attention-heads", dims.heads),
        ("--ffn-hidden-size", dims.ffn),
        ("--max-position-embeddings", longest),
        ("--make-vocab-size-divisible-by", _VOCAB_STEP),
        ("--normalization", "LayerNorm" if dims.norm_bias else "RMSNorm"),
        ("--position-embedding-type", "learned_absolute" if dims.positions else "rope"),
    ]
    flags = {
        "--swiglu": dims.gated,
        "--untie-embeddings-and-output-weights": not dims.tied,
        "--disable-bias-linear": not dims.ffn_bias,
        "--add-qkv-bias": dims.qkv_bias and not dims.ffn_bias,
        "--qk-layernorm": dims.qk_norm,
        "--attention-output-gate": dims.attention_gate,
    }
    options += [(flag,) for flag, on in flags.items() if on]
    return [*options, *_attention(dims), *_experts(dims)]


def _attention(dims: Dims) -> list[Option]:
    if dims.kv_rank:
        ranks: list[Option] = [("--q-lora-rank", dims.q_rank)] if dims.q_rank else []
        return [
            ("--multi-latent-attention",),
            *ranks,
            ("--kv-lora-rank", dims.kv_rank),
            ("--qk-head-dim", dims.nope_dim),
            ("--qk-pos-emb-head-dim", dims.rope_dim),
            ("--v-head-dim", dims.v_dim),
        ]
    options: list[Option] = [("--kv-channels", dims.head_dim)]
    if dims.kv_heads < dims.heads:
        options += [("--group-query-attention",), ("--num-query-groups", dims.kv_heads)]
    if dims.sink_layers:
        options.append(("--softmax-type", "learnable"))
    if dims.window_layers:
        options.append(("--window-size", f"{dims.window - 1},0"))
        if dims.window_layers < dims.layers:
            options.append(("--window-attn-skip-freq", _pattern(dims)))
    return options


def _pattern(dims: Dims) -> str:
    """Which layers have a window: how many is known, so those without are spread evenly, the last of each group."""
    whole = dims.layers - dims.window_layers
    full = {(at + 1) * dims.layers // whole - 1 for at in range(whole)}
    return f"[{','.join('0' if at in full else '1' for at in range(dims.layers))}]"


def _experts(dims: Dims) -> list[Option]:
    if not dims.experts:
        return []
    options: list[Option] = [
        ("--num-experts", dims.experts),
        ("--moe-router-topk", dims.experts_per_token),
        ("--moe-ffn-hidden-size", dims.moe_ffn),
        ("--moe-grouped-gemm",),
        ("--moe-token-dispatcher-type", "alltoall"),
        ("--moe-router-load-balancing-type", "aux_loss"),
        ("--moe-aux-loss-coeff", 0.01),
    ]
    if dims.experts_per_token == 1:
        options.append(("--moe-router-pre-softmax",))
    if dims.dense_layers:
        options.append(("--moe-layer-freq", f"([0]*{dims.dense_layers}+[1]*{dims.layers - dims.dense_layers})"))
    if dims.shared_ffn:
        options.append(("--moe-shared-expert-intermediate-size", dims.shared_ffn))
    if dims.shared_gate:
        options.append(("--moe-shared-expert-gate",))
    if dims.router_bias:
        options += [("--moe-router-enable-expert-bias",), ("--moe-router-score-function", "sigmoid")]
    return options


def _check(dims: Dims) -> None:
    odd = next((what for what, found in _odd(dims).items() if found), None)
    if odd:
        raise BadInputError(
            f"pretrain_gpt.py of Megatron-LM has no arguments for {dims.name}, which has {odd}.",
            "write its model provider yourself and take the degrees of the layout from --json.",
        )


def _odd(dims: Dims) -> dict[str, bool]:
    """What these arguments cannot say, and whether the model has it."""
    return {
        "no causal attention": not dims.causal,
        "layers of linear recurrence": dims.linear_layers > 0,
        "layers without attention or without a block": dims.mixerless > 0 or dims.ffnless > 0,
        "attention to chosen tokens": dims.index_topk > 0 or dims.index_layers > 0,
        "keys of its own shape": dims.kept < 1 or (dims.kv_matrices, dims.kv_cached) != (2, 2),
        "heads of another width in windows": (dims.window_kv_heads, dims.window_head_dim)
        != (dims.kv_heads, dims.head_dim),
        "an output projection in two": dims.out_rank > 0,
        "norms over all heads together": dims.wide_qk_norm,
        "sinks in some layers only": 0 < dims.sink_layers < dims.layers,
        "biases in some matrices only": dims.ffn_bias != dims.out_bias or (dims.ffn_bias and not dims.qkv_bias),
        "experts of another width": bool(dims.experts) and dims.moe_hidden != dims.hidden,
        "embeddings of another width": dims.embed_dim != dims.hidden,
        "an input that is no text": dims.patch_values > 0 or dims.token_types > 0 or dims.vocab == 0,
        "a head that is no language model's": dims.head > 0 or dims.pooler or not dims.logits,
    }
