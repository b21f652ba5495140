"""Bytes on one device while a model is served: weights, the cache of keys and values, and what the engine needs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.transformer import kv_byte
from pennyweight.cost.transformer_parameters import split_parameters

if TYPE_CHECKING:
    from pennyweight.cost.columns import Number, Sizes

# Bytes per weight, scales of groups of 32 (mxfp8), 16 (nvfp4) and 128 (int4) included. Embeddings, norms and logits
# stay in 16 bits unless all is in 32.
WEIGHT_BYTE = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "mxfp8": 1 + 1 / 32,
    "int8": 1.0,
    "nvfp4": 0.5 + 1 / 16,
    "int4": 0.5 + 2 / 128,
}
_HALF_BYTE = 2
_LOGIT_BYTE = 4
_STEP_TOKENS = 8192  # tokens of the largest step an engine takes at once (vLLM's default on large devices)
_GRAPH_BYTE = 5e8  # captured graphs keep their inputs and workspaces: some hundreds of megabytes
_CONTEXT_BYTE = 8e8  # driver context, product libraries
_LINK_BYTE = 1e9  # communicators and all-reduce buffers between devices


@dataclass(frozen=True, slots=True)
class Served:
    """Bytes on one device by what they hold; each a number, or an array (n,)."""

    weights: Number
    cache: Number
    activations: Number
    graphs: Number
    context: Number

    @property
    def total(self) -> Number:
        """All together."""
        return sum(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is served: `batch` sequences of `context` tokens at once, on `tp` · `pp` devices, experts over `ep`.

    `weight_byte` and `cache_byte` are bytes per number; `step_tokens` how many tokens one step reads at most.
    """

    batch: Number
    context: Number
    tp: Number = 1
    pp: Number = 1
    ep: Number = 1
    weight_byte: Number = 2
    cache_byte: Number = 2
    step_tokens: Number = _STEP_TOKENS


def serving(d: Sizes, s: Setting) -> Served:
    """Bytes on the fullest device.

    Key-value heads are split over tensor parallelism until each device has one; what latent attention caches is whole
    on every device. A step's activations are the widest block of one layer with its input and output, and the logits of
    the sequences that answer.
    """
    step = np.minimum(s.step_tokens, s.batch * s.context)
    wide = np.maximum((1 + d.gated) * np.maximum(d.ffn, d.moe_ffn * d.experts_per_token) / s.tp, 3 * d.hidden)
    logits = s.batch * d.vocab / s.tp * (_LOGIT_BYTE + _HALF_BYTE)
    several = np.greater(s.tp * s.pp, 1)
    return Served(
        weights=weights(d, s),
        cache=s.batch * kv_byte(d, s.context, s.cache_byte) / (cache_shards(d, s) * s.pp),
        activations=step * (wide + 4 * d.hidden) * _HALF_BYTE + logits,
        graphs=_GRAPH_BYTE,
        context=_CONTEXT_BYTE + several * _LINK_BYTE,
    )


def weights(d: Sizes, s: Setting) -> Number:
    """Bytes of the weights on one device: matrices of the layers in their precision, the rest in 16 bits."""
    parts = split_parameters(d)
    rest = np.where(np.greater(s.weight_byte, _HALF_BYTE), s.weight_byte, _HALF_BYTE)
    layers = (parts.mixers + parts.dense + parts.shared) * s.weight_byte / s.tp
    experts = parts.experts * s.weight_byte / np.maximum(s.ep, s.tp)
    return (layers + experts + parts.beside * rest) / s.pp + (parts.embedding + parts.logits) * rest / s.tp


def cache_shards(d: Sizes, s: Setting) -> Number:
    """Over how many devices of a tensor-parallel group the cache is split."""
    latent = np.greater(d.kv_rank, 0)
    return latent * 1 + (1 - latent) * np.minimum(s.tp, d.kv_heads)
