"""What a transformer keeps while it is trained: the bytes of activations of one layer, by what is computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core.layout import RECOMPUTES
from pennyweight.cost.transformer_parameters import window_v_dim
from pennyweight.errors import UnknownNameError

if TYPE_CHECKING:
    from pennyweight.cost.columns import Number, Sizes

# Bytes of a stored weight; blocks of 32 (mxfp8) and 16 (nvfp4) share a scale of one byte.
WEIGHT_BYTE = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "mxfp8": 1 + 1 / 32, "nvfp4": 1 / 2 + 1 / 16, "int4": 0.5}

_MASK_BYTE = 1  # of a dropout mask
_LOG_BYTE = 4  # float32: router scores, and a fused attention's sum per row


@dataclass(frozen=True, slots=True)
class Spread:
    """How a layer's activations are spread and made; each a number, or an array (n,).

    `fused` attention keeps no scores; with `dropout` the masks are kept; `byte` is the width of an activation.
    """

    tp: Number = 1
    cp: Number = 1
    sequence_parallel: Number = False
    fused: Number = True
    dropout: Number = False
    byte: Number = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that one layer keeps of one micro-batch on one device, by part, the mean over the layers."""

    whole: Number  # what tensor parallelism leaves whole: norms, inputs of the matrices, masks, routed copies
    split: Number  # what it splits: queries, keys, values, the inner width of feed-forward blocks
    scores: Number  # what attention makes of every pair of tokens; "selective" makes it again
    entry: Number  # the layer's input, all that "full" keeps

    def under(self, recompute: str) -> Number:
        """Bytes kept under "none", "selective" or "full" recompute."""
        if recompute not in RECOMPUTES:
            raise UnknownNameError.of("recompute", recompute, RECOMPUTES)
        if recompute == "full":
            return self.entry
        return self.whole + self.split + (self.scores if recompute == "none" else 0.0)


def activations(d: Sizes, batch: Number, sequence: Number, spread: Spread) -> Kept:
    """Bytes of activations of one layer for `batch` sequences of `sequence` tokens.

    With two norms, ungated blocks of four times the width, dropout and no fused attention this is ``s·b·h·(10 + 24/t +
    5·a·s/(h·t))``, and 1/t of all of it with sequence parallelism (Korthikanti et al. 2022, arXiv 2205.05198, table 2).
    Grouped keys, gates, latent attention and experts change the widths: a routed token is kept once per expert that
    it is sent to, on its way in and out.
    """
    tokens = batch * sequence / spread.cp
    around = 1 + spread.sequence_parallel * (spread.tp - 1)
    inner = spread.byte * (_mixer_width(d) + _block_width(d))
    return Kept(
        whole=tokens * (_whole(d, spread) + _routed(d, spread)) / around,
        split=tokens * inner / spread.tp,
        scores=tokens * _scores(d, sequence, spread) / spread.tp,
        entry=tokens * spread.byte * d.hidden / around,
    )


def _whole(d: Sizes, spread: Spread) -> Number:
    """Bytes per token of the norms' inputs, those of the mixer and of the block, and a mask after each."""
    mixers = (d.layers - d.mixerless) / d.layers
    blocks = (d.layers - d.ffnless) / d.layers
    masks = _MASK_BYTE * spread.dropout * (mixers + blocks)
    return d.hidden * (spread.byte * (d.norms + mixers + blocks) + masks)


def _mixer_width(d: Sizes) -> Number:
    """Values per token that the mixers keep in one layer on average."""
    latent = d.kv_rank > 0
    queries = d.heads * d.head_dim * (1 + d.attention_gate)
    keys = latent * d.heads * (d.head_dim + d.v_dim)
    keys += (1 - latent) * d.kv_heads * (d.head_dim + (d.kv_matrices - 1) * d.v_dim)
    narrow = d.q_rank + latent * (d.kv_rank + d.rope_dim) + (d.out_rank > 0) * d.out_rank * d.out_groups
    full = queries + keys + d.heads * d.v_dim + narrow
    window = d.heads * (d.window_head_dim * (1 + d.attention_gate) + window_v_dim(d))
    window += d.window_kv_heads * (d.window_head_dim + window_v_dim(d))
    linear = d.linear_in + d.linear_out
    layers = d.attention_layers - d.window_layers
    return (layers * full + d.window_layers * window + d.linear_layers * linear) / d.layers


def _block_width(d: Sizes) -> Number:
    """Values per token that the feed-forward blocks keep in one layer on average: what goes in and out of a product."""
    inner = 2 + d.gated
    dense = (d.layers - d.ffnless - d.moe_layers) * d.ffn
    sparse = d.moe_layers * (d.experts_per_token * d.moe_ffn + d.shared_ffn)
    return inner * (dense + sparse) / d.layers


def _routed(d: Sizes, spread: Spread) -> Number:
    """Bytes per token of the copies sent to experts and what comes back, and of the router's scores."""
    copies = 2 * d.experts_per_token * d.moe_hidden * spread.byte
    return d.moe_layers * (copies + d.experts * _LOG_BYTE) / d.layers


def _scores(d: Sizes, sequence: Number, spread: Spread) -> Number:
    """Bytes per token of softmax, mask and dropped scores, or of a sum per head where attention is fused."""
    pairs = 2 * spread.byte * spread.dropout + (1 - spread.dropout) * spread.byte + _MASK_BYTE * spread.dropout
    each = spread.fused * _LOG_BYTE + (1 - spread.fused) * pairs * sequence
    return d.heads * each * d.attention_layers / d.layers
