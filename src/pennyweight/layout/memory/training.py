"""Bytes on one device while a model is trained: what is arithmetic, part by part, for one layout or for n at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cost.transformer_parameters import split_parameters
from pennyweight.layout.memory.activations import in_flight, kept_per_layer, one_layer

if TYPE_CHECKING:
    from pennyweight.core.layout import Layout
    from pennyweight.cost.columns import Number, Sizes

_PADDING = 128  # a vocabulary is padded to a multiple of this and of tensor parallelism
_LOSS_BYTE = 4  # the loss is taken from a copy of the logits in float32
_GATHERED = 2  # layers whose weights are whole at one time where weights are sharded: this one and the next
# Bytes per parameter of weights, of gradients and of optimiser state. Adam keeps two moments in float32; in mixed
# precision also float32 weights, and gradients are added up in float32 (Megatron-LM, "distributed optimizer"). With
# 8-bit products the weights stay in bfloat16 and have an 8-bit copy and its transpose.
STATE = {"fp32": (4, 4, 8), "bf16": (2, 4, 12), "fp16": (2, 4, 14), "fp8": (4, 4, 12)}
_AS_FP8 = ("fp8", "mxfp8", "nvfp4", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is trained, in numbers; each one number, or an array (n,) of n layouts'. Yes is 1, no is 0.

    Degrees of parallelism are those of `Layout`; `etp` is the tensor parallelism of experts. `micro_batches` is how
    many a pipeline is fed per step. `scores` says that attention keeps its square of scores (no fused kernel),
    `dropout` that masks are kept. `selective` recompute drops the scores, `full` all but each layer's input.
    `weight_byte`, `gradient_byte` and `state_byte` are bytes per parameter, `activation_byte` per number kept and
    `product_byte` per number kept as input of a product. `logit_share` of the tokens are scored against the vocabulary.
    """

    seq: Number
    micro_batch: Number = 1
    micro_batches: Number = 1e9
    tp: Number = 1
    pp: Number = 1
    dp: Number = 1
    cp: Number = 1
    ep: Number = 1
    etp: Number = 1
    chunks: Number = 1
    zero: Number = 0
    sequence_parallel: Number = 0
    scores: Number = 0
    dropout: Number = 0
    selective: Number = 0
    full: Number = 0
    weight_byte: Number = 2
    gradient_byte: Number = 4
    state_byte: Number = 12
    activation_byte: Number = 2
    product_byte: Number = 2
    offload_state: Number = 0
    offload_all: Number = 0
    logit_share: Number = 1

    @property
    def tokens(self) -> Number:
        """Tokens of a micro-batch on one device."""
        return self.seq * self.micro_batch / self.cp

    @property
    def replicas(self) -> Number:
        """How many devices share what is sharded over data: data parallelism and context parallelism."""
        return self.dp * self.cp

    @property
    def expert_replicas(self) -> Number:
        """How many devices of a stage hold the same experts."""
        return np.maximum(self.tp * self.dp * self.cp / (self.ep * self.etp), 1)


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes on one device by what they hold; each a number, or an array (n,).

    `buffers` are for sending: pipeline, gathered weights and gradient buckets. `workspace` is of the product libraries,
    `context` of the driver and of communication, `unused` what the allocator holds and cannot hand out.
    """

    weights: Number
    gradients: Number
    optimizer: Number
    activations: Number
    logits: Number
    buffers: Number
    workspace: Number = 0
    context: Number = 0
    unused: Number = 0

    @property
    def total(self) -> Number:
        """All together."""
        return sum(getattr(self, each.name) for each in fields(self))

    @property
    def state(self) -> Number:
        """What stays from one step to the next: weights, gradients and optimiser."""
        return self.weights + self.gradients + self.optimizer


def setting_of(layout: Layout, seq: int, micro_batches: float = 1e9, **more: Any) -> Setting:
    """The numbers of one layout on sequences of `seq` tokens; `more` fields of `Setting` as they are given.

    Experts are spread over `ep` devices; where that is less than their replicas, they are split like everything else.
    """
    weight, gradient, state = STATE["fp8" if layout.precision in _AS_FP8 else layout.precision]
    return Setting(
        **{
            "seq": seq,
            "micro_batches": micro_batches,
            **{each: getattr(layout, each) for each in ("tp", "pp", "dp", "cp", "ep", "chunks", "zero", "micro_batch")},
            "etp": 1 if layout.ep > 1 else layout.tp,
            "sequence_parallel": int(layout.sequence_parallel),
            "selective": int(layout.recompute == "selective"),
            "full": int(layout.recompute == "full"),
            "weight_byte": weight,
            "gradient_byte": gradient,
            "state_byte": state,
            "activation_byte": 4 if layout.precision == "fp32" else 2,
            "product_byte": {"fp32": 4, "bf16": 2, "fp16": 2}.get(layout.precision, 1),
            "offload_state": int(layout.offload != "none"),
            "offload_all": int(layout.offload == "all"),
            **more,
        }
    )


def training(d: Sizes, s: Setting) -> Parts:
    """Bytes on the fullest device of a pipeline: of its first stage or of its last, whichever holds more."""
    first, last = stage(d, s, last=False), stage(d, s, last=True)
    more = first.total > last.total
    return Parts(
        **{each.name: np.where(more, getattr(first, each.name), getattr(last, each.name)) for each in fields(Parts)}
    )


def stage(d: Sizes, s: Setting, *, last: bool) -> Parts:
    """Bytes on a device of the last stage of a pipeline (it makes the logits), or of the first (it holds most passes).

    Activations follow Korthikanti et al. 2022 (arXiv 2205.05198), sections 4 and 5, with gated and grouped blocks,
    latent attention and experts put in. What peaks is the moment between forward and backward.
    """
    if not last:
        s = replace(s, logit_share=s.logit_share * np.equal(s.pp, 1))
    shared, experts = held(d, s, last=last)
    shards, expert_shards = s.replicas, s.expert_replicas
    logits = s.logit_share * s.tokens * (padded(d, s) / s.tp) * (s.activation_byte + _LOSS_BYTE) * d.logits
    again = s.full * np.maximum(one_layer(d, s) - logits, 0)  # the logits are gone when a layer is computed again
    kept = in_flight(d, s, last=last) * kept_per_layer(d, s) + again

    def split(byte: Number, sharded: Number, stays: Number) -> Number:
        whole, spread = shared + experts, shared / shards + experts / expert_shards
        return byte * stays * (sharded * spread + (1 - sharded) * whole)

    on_device = 1 - s.offload_all
    return Parts(
        weights=split(s.weight_byte, np.greater_equal(s.zero, 3) * 1, on_device),
        gradients=split(s.gradient_byte, np.greater_equal(s.zero, 2) * 1, on_device),
        optimizer=split(s.state_byte, np.greater_equal(s.zero, 1) * 1, 1 - s.offload_state),
        activations=kept,
        logits=logits,
        buffers=_buffers(d, s),
    )


def held(d: Sizes, s: Setting, *, last: bool) -> tuple[Number, Number]:
    """Parameters on a device of the first or last stage, before sharding over data: those of experts apart.

    Norms are on every device of a tensor-parallel group, matrices are split. The last stage of a pipeline has the
    matrix of the logits, or a copy of the embedding where that is tied.
    """
    parts = split_parameters(d)
    one = np.equal(s.pp, 1)
    table = padded(d, s) * d.embed_dim
    rest = parts.embedding - d.vocab * d.embed_dim
    own = (parts.logits > 0) * table * (1 - d.tied) + parts.logits - d.logits * d.vocab * (1 - d.tied) * d.embed_dim
    ends = one * (table + own + rest * s.tp) + (1 - one) * ((table * d.tied + own) if last else table + rest * s.tp)
    layers = (parts.mixers + parts.dense + parts.shared) / s.tp + parts.beside
    return layers / s.pp + ends / s.tp, parts.experts / (s.pp * s.ep * s.etp)


def padded(d: Sizes, s: Setting) -> Number:
    """The vocabulary as it is split: a multiple of 128 for each device of a tensor-parallel group."""
    step = _PADDING * s.tp
    return np.ceil(d.vocab / step) * step


def _buffers(d: Sizes, s: Setting) -> Number:
    """For a pipeline's neighbours, for a gathered sequence, and the whole weights and gradients of sharded layers."""
    row = s.tokens * d.hidden * s.activation_byte
    parts = split_parameters(d)
    layer = ((parts.layers - parts.experts) / s.tp + parts.experts / (s.ep * s.etp)) / d.layers
    gathered = np.greater_equal(s.zero, 3) * _GATHERED * s.weight_byte + np.greater_equal(s.zero, 2) * s.gradient_byte
    sharded = np.maximum(gathered, s.offload_all * _GATHERED * (s.weight_byte + s.gradient_byte))
    return row * (2 * np.greater(s.pp, 1) + s.sequence_parallel * np.greater(s.tp, 1)) + layer * sharded
