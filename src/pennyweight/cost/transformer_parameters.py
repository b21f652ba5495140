"""What a transformer is: its parameters, from its dimensions, exactly."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pennyweight.cost.columns import Number, Sizes


@dataclass(frozen=True, slots=True)
class Parts:
    """Parameters (or weights, or FLOP) of a whole model by part; each a number, or an array (n,) of n models'."""

    embedding: Number
    mixers: Number  # attention or recurrence, its matrices
    dense: Number  # feed-forward blocks without experts
    experts: Number  # routed
    shared: Number  # shared experts, routers, and what brings tokens to the experts' width
    beside: Number  # norms, biases, sinks
    logits: Number  # the last layer: onto the vocabulary (none of its own if tied), or classes

    @property
    def total(self) -> Number:
        """All together."""
        return sum(getattr(self, each.name) for each in fields(self))

    @property
    def layers(self) -> Number:
        """What is in the layers; the norms outside of them are in `beside`."""
        return self.mixers + self.dense + self.experts + self.shared + self.beside


def parameters(d: Sizes) -> Number:
    """How many parameters a model has, biases and norms included, further-token layers (`mtp_parameters`) not."""
    return split_parameters(d).total


def active_parameters(d: Sizes) -> Number:
    """How many parameters take part in one token: `parameters` without the experts it is not sent to."""
    return parameters(d) - d.moe_layers * (d.experts - d.experts_per_token) * expert_parameters(d)


def embedding_parameters(d: Sizes) -> Number:
    """Parameters outside the layers: tables of tokens, positions and types, patches, logits and heads, end norms."""
    return _tables(d) + _ends(d) + d.end_norms * _norm(d)


def layer_parameters(d: Sizes) -> Number:
    """Parameters of one layer: the mean over the layers, which differ where only some have experts or a window."""
    return (parameters(d) - embedding_parameters(d)) / d.layers


def expert_parameters(d: Sizes) -> Number:
    """Parameters of ONE routed expert of one layer."""
    return _block(d, d.moe_hidden, d.moe_ffn) + d.ffn_bias * (d.moe_ffn * (1 + d.gated) + d.moe_hidden)


def mtp_parameters(d: Sizes) -> Number:
    """Parameters of the layers that predict further tokens: each a last layer, a matrix of two inputs, and three norms.

    They share the embedding and the logits (DeepSeek-V3, arXiv 2412.19437, section 2.2).
    """
    routed = d.moe_layers > 0
    ffns = d.layers - d.ffnless - d.moe_layers
    mixer = (_attention(d) + _attention_beside(d)) / (d.attention_layers + (d.attention_layers == 0))
    dense = (dense_weights(d) + _dense_beside(d)) / (ffns + (ffns == 0))
    sparse = d.experts * expert_parameters(d) + (_shared(d) + _shared_beside(d))
    last = mixer + routed * sparse + (1 - routed) * dense + d.norms * _norm(d)
    return d.mtp_layers * (last + 2 * d.hidden * d.hidden + 3 * _norm(d))


def split_parameters(d: Sizes) -> Parts:
    """The parameters of a whole model by part."""
    norms = (d.layers * d.norms + d.end_norms) * _norm(d)
    moe = d.moe_layers
    return Parts(
        embedding=_tables(d),
        mixers=mixer_weights(d),
        dense=dense_weights(d),
        experts=moe * d.experts * expert_parameters(d),
        shared=shared_weights(d),
        beside=norms + _attention_beside(d) + _linear_beside(d) + _dense_beside(d) + moe * _shared_beside(d),
        logits=_ends(d),
    )


def mixer_weights(d: Sizes) -> Number:
    """Weights of the matrices that make queries, keys, values and outputs in all layers: two FLOP each per token."""
    return _attention(d) + d.linear_layers * d.hidden * (d.linear_in + d.linear_out)


def dense_weights(d: Sizes) -> Number:
    """Weights of the dense feed-forward blocks in all layers."""
    return (d.layers - d.ffnless - d.moe_layers) * _block(d, d.hidden, d.ffn)


def shared_weights(d: Sizes) -> Number:
    """Weights in all layers that every token meets on its way to the experts: routers, shared experts, projections."""
    return d.moe_layers * _shared(d)


def window_v_dim(d: Sizes) -> Number:
    """Width of a value's head in layers with a window."""
    return d.v_dim * d.window_head_dim // d.head_dim


def _norm(d: Sizes) -> Number:
    return d.hidden * (1 + d.norm_bias)


def _block(d: Sizes, outer: Number, inner: Number) -> Number:
    return outer * inner * (2 + d.gated)


def _attention(d: Sizes) -> Number:
    """Weights of all attention layers; those with a window have heads of their own."""
    latent = d.kv_rank > 0
    made = d.hidden * (d.kv_rank + d.rope_dim) + d.kv_rank * d.heads * (d.nope_dim + d.v_dim)
    keys = d.hidden * d.kv_heads * (d.head_dim + (d.kv_matrices - 1) * d.v_dim)
    full = _queries(d, d.head_dim) + latent * made + (1 - latent) * keys + _output(d, d.v_dim)
    narrow = d.hidden * d.window_kv_heads * (d.window_head_dim + window_v_dim(d))
    window = _queries(d, d.window_head_dim) + narrow + _output(d, window_v_dim(d))
    return (d.attention_layers - d.window_layers) * full + d.window_layers * window + d.index_layers * _index(d)


def _queries(d: Sizes, width: Number) -> Number:
    ranked, wide = d.q_rank > 0, d.heads * width * (1 + d.attention_gate)
    return ranked * d.q_rank * (d.hidden + wide) + (1 - ranked) * d.hidden * wide


def _output(d: Sizes, width: Number) -> Number:
    ranked, wide = d.out_rank > 0, d.heads * width
    return ranked * d.out_rank * (wide + d.out_groups * d.hidden) + (1 - ranked) * wide * d.hidden


def _index(d: Sizes) -> Number:
    """What chooses the tokens to attend to: queries (from the latent ones, if any), one key, a weight per head."""
    source = d.q_rank + (d.q_rank == 0) * d.hidden
    return source * d.index_heads * d.index_dim + d.hidden * (d.index_dim + d.index_heads)


def _attention_beside(d: Sizes) -> Number:
    """Biases, norms and sinks of all attention layers."""
    full, window = d.attention_layers - d.window_layers, d.window_layers
    latent, wide = d.kv_rank > 0, d.wide_qk_norm
    values = (d.kv_matrices - 1) * d.v_dim
    qkv = full * (d.heads * d.head_dim * (1 + d.attention_gate) + d.kv_heads * (d.head_dim + values))
    qkv += window * (d.heads * d.window_head_dim + d.window_kv_heads * (d.window_head_dim + window_v_dim(d)))
    full_heads = wide * (d.heads + d.kv_heads) + 2 * (1 - wide)
    window_heads = wide * (d.heads + d.window_kv_heads) + 2 * (1 - wide)
    normed = full * full_heads * d.head_dim + window * window_heads * d.window_head_dim
    ranks = d.attention_layers * (d.q_rank + latent * d.kv_rank) + d.index_layers * 2 * d.index_dim
    biases = d.qkv_bias * qkv + d.out_bias * d.attention_layers * d.hidden
    return biases + d.qk_norm * normed + ranks + d.sink_layers * d.heads


def _linear_beside(d: Sizes) -> Number:
    return d.linear_layers * d.linear_extra


def _dense_beside(d: Sizes) -> Number:
    ffns = d.layers - d.ffnless - d.moe_layers
    return ffns * d.ffn_bias * (d.ffn * (1 + d.gated) + d.hidden)


def _shared(d: Sizes) -> Number:
    narrowed = d.moe_hidden != d.hidden
    gates = d.hidden * (d.experts + d.shared_gate)
    return _block(d, d.hidden, d.shared_ffn) + gates + 2 * narrowed * d.hidden * d.moe_hidden


def _shared_beside(d: Sizes) -> Number:
    shared = (d.shared_ffn > 0) * d.ffn_bias * (d.shared_ffn * (1 + d.gated) + d.hidden)
    return d.router_bias * d.experts + shared


def _tables(d: Sizes) -> Number:
    """Embeddings of tokens (brought to the model's width where theirs differs), positions, types and patches."""
    tokens = d.vocab * d.embed_dim + (d.vocab > 0) * (d.embed_dim != d.hidden) * 2 * d.embed_dim * d.hidden
    patches = d.patch_values * d.hidden + (d.patch_values > 0) * d.end_bias * d.hidden
    return tokens + patches + (d.positions + d.token_types + d.class_tokens) * d.hidden


def _ends(d: Sizes) -> Number:
    """The matrix of the logits, if it is not that of the embedding; a pooler; a head."""
    logits = d.logits * d.vocab * ((1 - d.tied) * d.embed_dim + d.end_bias)
    return logits + d.pooler * d.hidden * (d.hidden + 1) + d.head * (d.hidden + d.end_bias)
