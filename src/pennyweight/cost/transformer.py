"""What a transformer needs: FLOP forward and in training, and the bytes it keeps per token, from its dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.transformer_parameters import (
    Parts,
    active_parameters,
    dense_weights,
    embedding_parameters,
    expert_parameters,
    layer_parameters,
    mixer_weights,
    mtp_parameters,
    parameters,
    shared_weights,
    split_parameters,
    window_v_dim,
)

if TYPE_CHECKING:
    from pennyweight.cost.columns import Number, Sizes

__all__ = [
    "Flop",
    "Parts",
    "active_parameters",
    "dense_weights",
    "embedding_parameters",
    "expert_parameters",
    "forward_flop",
    "kv_byte",
    "kv_byte_token",
    "layer_parameters",
    "mixer_weights",
    "mtp_parameters",
    "parameters",
    "seen_tokens",
    "shared_weights",
    "split_parameters",
    "training_flop",
    "window_v_dim",
]

_STATE_BYTE = 4  # the state of a recurrence is kept in float32
_PASSES = 3  # forward, and twice that backward


@dataclass(frozen=True, slots=True)
class Flop:
    """FLOP of one sequence by part; each a number, or an array (n,); one multiply-add is two."""

    projections: Number  # queries, keys, values, outputs; of recurrences too
    core: Number  # scores and weighted values; a recurrence's state
    dense: Number
    experts: Number  # routed, those a token is sent to
    shared: Number  # shared experts, routers
    logits: Number  # and heads, patches

    @property
    def total(self) -> Number:
        """All together."""
        return self.layers + self.logits

    @property
    def layers(self) -> Number:
        """What the layers need, without what is around them."""
        return self.projections + self.core + self.dense + self.experts + self.shared


def forward_flop(
    d: Sizes, tokens: Number, context: Number | None = None, *, full_core: bool = False, absorbed: bool = False
) -> Flop:
    """FLOP of one forward pass over the last `tokens` of one sequence that then has `context` tokens (default: all).

    Training and prefill: `tokens` is the sequence; a step of decoding: one token, and the `context` it sees. Only
    products count, as in `cost.count`. A causal token sees those before it and itself; `full_core` counts the square
    instead, as Megatron's formula and kernels without a mask do. `absorbed` counts latent attention as decoders do it,
    on the latent vectors themselves (DeepSeek-V2, arXiv 2405.04434, section 2.1.2).
    """
    context = tokens if context is None else context
    active = _block_weights(d) * d.experts_per_token
    heads = d.pooler * d.hidden * d.hidden * (d.logits * tokens + 1 - d.logits) + d.head * d.hidden
    patches = (d.patch_values > 0) * (tokens - d.class_tokens) * d.patch_values * d.hidden
    narrow = (d.vocab > 0) * (d.embed_dim != d.hidden) * 2 * d.embed_dim * d.hidden
    return Flop(
        projections=2 * tokens * mixer_weights(d),
        core=_core(d, tokens, context, full=full_core, absorbed=absorbed),
        dense=2 * tokens * dense_weights(d),
        experts=2 * tokens * d.moe_layers * active,
        shared=2 * tokens * shared_weights(d),
        logits=2 * (tokens * (d.logits * d.vocab * d.embed_dim + narrow) + heads + patches),
    )


def training_flop(d: Sizes, tokens: Number, *, recompute: str = "none", full_core: bool = False) -> Number:
    """FLOP of one training step on one sequence of `tokens`: three times forward, and what `recompute` does again.

    "selective" does the attention's core again, "full" every layer (Korthikanti et al. 2022, arXiv 2205.05198).
    """
    once = forward_flop(d, tokens, full_core=full_core)
    again = {"none": 0.0, "selective": once.core, "full": once.layers}[recompute]
    return _PASSES * once.total + again


def kv_byte_token(d: Sizes, byte: Number = 2, context: Number = 0) -> Number:
    """Bytes that one token keeps in all layers, `byte` per number: by itself, or the mean over a `context`.

    Windows and what is left out of compressed layers make the mean smaller; the state of a recurrence is not in it.
    """
    alone = (context == 0) * 1
    tokens = context + alone
    return _kept(d, tokens, 1 - alone) * byte / tokens


def kv_byte(d: Sizes, context: Number, byte: Number = 2) -> Number:
    """Bytes one sequence of `context` tokens keeps in all layers: keys and values, `byte` per number, and states."""
    return _kept(d, context, 1) * byte + d.linear_layers * d.linear_state * _STATE_BYTE


def seen_tokens(tokens: Number, context: Number, window: Number) -> Number:
    """How many pairs of a token and one it sees the last `tokens` of `context` have, at most `window` each, causal."""
    return _triangle(context, window) - _triangle(context - tokens, window)


def _triangle(tokens: Number, window: Number) -> Number:
    """The sum of min(p, window) for p from one to `tokens`."""
    short = np.minimum(tokens, window)
    return short * (short + 1) / 2 + (tokens - short) * short


def _core(d: Sizes, tokens: Number, context: Number, *, full: bool, absorbed: bool) -> Number:
    """FLOP of scores and weighted values in all layers, of choosing tokens, and of recurrences (write and read)."""
    wide = context + (d.index_topk > 0) * (d.index_topk / d.kept - context)
    narrow = d.window + (d.window == 0) * context
    width = d.head_dim + d.v_dim
    if absorbed:
        latent = d.kv_rank > 0
        width = latent * (2 * d.kv_rank + d.rope_dim) + (1 - latent) * width
    seen = _pairs(d, tokens, context, np.minimum(wide, context), full=full) * d.kept
    seen_window = _pairs(d, tokens, context, np.minimum(narrow, context), full=full)
    all_seen = _pairs(d, tokens, context, context, full=full) * d.index_kept
    window_width = width * d.window_head_dim / d.head_dim
    full_layers = d.attention_layers - d.window_layers
    attended = full_layers * seen * width + d.window_layers * seen_window * window_width
    chosen = d.index_layers * all_seen * d.index_heads * d.index_dim
    states = 2 * tokens * d.linear_layers * d.linear_state
    return 2 * (d.heads * attended + chosen + states)


def _pairs(d: Sizes, tokens: Number, context: Number, window: Number, *, full: bool) -> Number:
    square = tokens * window
    return square if full else d.causal * seen_tokens(tokens, context, window) + (1 - d.causal) * square


def _block_weights(d: Sizes) -> Number:
    return d.moe_hidden * d.moe_ffn * (2 + d.gated)


def _kept(d: Sizes, context: Number, windowed: Number) -> Number:
    """Numbers kept of `context` tokens in all layers; windows count where `windowed` is one."""
    latent = d.kv_rank > 0
    heads = d.kv_heads * (d.head_dim + (d.kv_cached - 1) * d.v_dim)
    each = latent * (d.kv_rank + d.rope_dim) + (1 - latent) * heads
    full = (d.attention_layers - d.window_layers) * each * d.kept + d.index_layers * d.index_dim * d.index_kept
    narrow = d.window_kv_heads * (d.window_head_dim + window_v_dim(d))
    in_window = windowed * np.minimum(context, d.window) + (1 - windowed) * context
    return full * context + d.window_layers * narrow * in_window
