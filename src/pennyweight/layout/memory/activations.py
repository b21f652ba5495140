"""Bytes of activations a layer keeps for its backward pass, and for how many layers a device keeps them at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pennyweight.cost.columns import Number, Sizes
    from pennyweight.layout.memory.training import Setting

_STATISTIC_BYTE = 4  # a fused kernel keeps one float32 per token and head instead of the scores


def in_flight(d: Sizes, s: Setting, *, last: bool) -> Number:
    """For how many layers a device keeps activations of a micro-batch at the fullest moment.

    With one forward, one backward (1F1B) the first stage keeps as many micro-batches as there are stages, the last one
    keeps one; interleaved stages keep more (Korthikanti et al. 2022, section 4.2.3; Narayanan et al. 2021).
    """
    layers = d.layers / s.pp
    interleaved = np.greater(s.chunks, 1)
    if last:
        return layers * (interleaved * ((s.chunks - 1) * s.pp + 1) / s.chunks + (1 - interleaved))
    whole = np.minimum(s.pp, s.micro_batches)
    more = s.pp * (1 + (s.pp - 1) / (s.pp * s.chunks))
    return layers * (interleaved * np.minimum(more, s.micro_batches) + (1 - interleaved) * whole)


def kept_per_layer(d: Sizes, s: Setting) -> Number:
    """Bytes one layer keeps of one micro-batch: all of it, all but the scores, or only its input."""
    scores = s.scores * (1 - s.selective)
    return s.full * _input(d, s) + (1 - s.full) * _layer(d, s, scores)


def one_layer(d: Sizes, s: Setting) -> Number:
    """Bytes of the one layer that is whole while it is computed again."""
    return _layer(d, replace(s, full=0), s.scores)


def _input(d: Sizes, s: Setting) -> Number:
    return s.tokens * d.hidden * s.activation_byte / _along(s)


def _along(s: Setting) -> Number:
    """Over how many devices of a tensor-parallel group the sequence is split."""
    return s.sequence_parallel * s.tp + (1 - s.sequence_parallel)


def _layer(d: Sizes, s: Setting, scores: Number) -> Number:
    """The mean over the layers of what is kept: around the blocks, in the mixer, in the feed-forward block."""
    moe, mixers = d.moe_layers / d.layers, d.attention_layers / d.layers
    dense = (d.layers - d.ffnless - d.moe_layers) / d.layers
    linear = d.linear_layers / d.layers
    around = d.hidden * d.norms * (s.activation_byte + s.product_byte + s.dropout) / _along(s)
    recurrence = linear * (d.linear_in * s.activation_byte + d.linear_out * s.product_byte) / s.tp
    blocks = dense * _block(d.ffn, d, s) / s.tp + moe * (_experts(d, s) + _block(d.shared_ffn, d, s) / s.tp)
    return s.tokens * (around + mixers * _attention(d, s, scores) / s.tp + recurrence + blocks)


def _attention(d: Sizes, s: Setting, scores: Number) -> Number:
    """Queries, keys, values, what the output projection reads, and the scores (with their mask) or their statistics."""
    latent = np.greater(d.kv_rank, 0)
    keys = latent * d.heads * (d.head_dim + d.v_dim) + (1 - latent) * d.kv_heads * (d.head_dim + d.v_dim)
    made = d.heads * d.head_dim + keys + latent * (d.q_rank + d.kv_rank + d.rope_dim)
    square = d.heads * s.seq * (s.activation_byte + s.dropout * (1 + s.activation_byte))
    core = scores * square + (1 - s.scores) * d.heads * _STATISTIC_BYTE
    return made * s.activation_byte + d.heads * d.v_dim * s.product_byte + core


def _block(inner: Number, d: Sizes, s: Setting) -> Number:
    """What a feed-forward block of this width keeps of one token: before and after its non-linearity."""
    return inner * ((1 + d.gated) * s.activation_byte + s.product_byte)


def _experts(d: Sizes, s: Setting) -> Number:
    """What experts keep of one token: its copies sent there and back, and inside; spread evenly over the experts."""
    sent = 2 * d.moe_hidden * (s.product_byte + s.activation_byte) * s.etp
    return d.experts_per_token * (sent + _block(d.moe_ffn, d, s)) / _along(s)
