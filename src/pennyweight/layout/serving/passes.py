"""What one pass of a served model takes, term by term: an iteration that decodes, and the prefill of one prompt.

Each term is seconds as a kernel measured by itself would take: bytes over bandwidth and FLOP over peak, each times the
usual ratio of measured to ideal in AIConfigurator's tables of kernels (H100, H200, B200, GB200; vLLM, SGLang and
TensorRT-LLM), and latencies per layer. `layout.additive` multiplies them by what whole deployments taught.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.transformer import forward_flop, kv_byte
from pennyweight.cost.transformer_parameters import (
    dense_weights,
    expert_parameters,
    mixer_weights,
    shared_weights,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.serving.fleet import Fleet

    Floats = NDArray[np.float64]
    Terms = dict[str, Floats]

# Measured over ideal seconds of products by precision: reading weights, multiplying, and multiplying by experts.
_READ = {"nvfp4": 1.6, "mxfp4": 1.5, "int4": 1.5, "fp8": 1.35, "fp8_block": 1.35, "mxfp8": 1.35, "int8": 1.35}
_MULTIPLY = {"nvfp4": 2.6, "mxfp4": 2.6, "int4": 1.5, "fp8": 2.0, "fp8_block": 2.0, "mxfp8": 2.0, "int8": 2.0}
_EXPERTS_READ = {"nvfp4": 1.3, "mxfp4": 1.15, "int4": 1.5, "fp8": 1.2, "fp8_block": 1.2, "mxfp8": 1.3, "int8": 1.3}
_EXPERTS_MULTIPLY = {"nvfp4": 3.6, "mxfp4": 3.0, "int4": 3.5, "fp8": 4.0, "fp8_block": 4.5, "mxfp8": 4.5, "int8": 4.0}
_WIDE = (1.25, 1.4, 1.15, 3.0)  # the same four of sixteen and more bits
_KV = 1.25
_DECODE_CORE, _PREFILL_CORE = (6.0, 2.0), 2.0  # of keys per head, and of latent ones
_LAYER_S, _LATENT_S, _LINEAR_S, _DP_S = 28e-6, 20e-6, 25e-6, 25e-6
# Latency of a layer's experts on devices with units for four bits, whose kernels are newer, and on others.
_MOE_S = {"nvfp4": 26e-6, "mxfp4": 22e-6, "fp8": 33e-6, "fp8_block": 37e-6, "int4": 58e-6}
_MOE_OLD_S = {"mxfp4": 55e-6, "fp8": 48e-6, "fp8_block": 45e-6, "int4": 55e-6}
_MOE_WIDE_S = (28e-6, 42e-6)
_REDUCE_S, _REDUCE_LOG_S, _REDUCE_BYTE, _SEND_BYTE = 6e-6, 1e-6, 2.0, 2.0
_STEP_S, _REQUEST_S, _ROUTE_S = 6e-4, 8e-6, 20e-9
_TOKEN_S = 8e-9  # of what is elementwise, per layer and 4,096 values
_WIDTH = 4096
_ACTIVATION = 2.0  # bytes of a value that is sent
_SENT = 1.5  # bytes of a value sent to experts and back: fp8 there, bf16 back


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters one device reads in a pass over all of its layers (n,): what all tokens share, and all its experts."""

    shared: Floats
    experts: Floats
    logits: Floats


def weights_of(fleet: Fleet) -> Weights:
    """Weights per device of the pool that decodes, summed over pipeline stages; a device holds 1/pp of this."""
    d = fleet.model
    shared = mixer_weights(d) + dense_weights(d) + shared_weights(d)
    experts = d.moe_layers * d.experts * expert_parameters(d)
    return Weights(shared / fleet.tp, experts / (fleet.tp * fleet.adp), d.logits * d.vocab * d.embed_dim / fleet.tp)


def weight_byte(fleet: Fleet) -> Floats:
    """Bytes of weights (n,) one device of the pool that decodes holds."""
    held, d = weights_of(fleet), fleet.model
    tables = d.vocab * d.embed_dim * _ACTIVATION / fleet.tp + held.logits * _ACTIVATION
    return np.asarray((held.shared * fleet.gemm_byte + held.experts * fleet.moe_byte + tables) / fleet.pp)


def decode_terms(fleet: Fleet, batch: Floats, context: Floats) -> Terms:
    """Seconds (n,) of an iteration that makes a token, or one and `drafts`, for each of `batch` requests of a group."""
    d, held = fleet.model, weights_of(fleet)
    tokens = batch / fleet.pp * (1 + fleet.drafts)
    core = forward_flop(d, 1.0, context, absorbed=True).core
    keys = kv_byte(d, context, fleet.kv_byte) / heads_split(fleet)
    hit = experts_hit(fleet, tokens * fleet.adp)
    read, multiply = _ratios(fleet.gemm, _READ, 0), _ratios(fleet.gemm, _MULTIPLY, 1)
    read_moe, multiply_moe = _ratios(fleet.moe, _EXPERTS_READ, 2), _ratios(fleet.moe, _EXPERTS_MULTIPLY, 3)
    routed = d.experts_per_token / np.maximum(d.experts, 1)
    return {
        "weights": (held.shared * fleet.gemm_byte * read + held.logits * _ACTIVATION * _WIDE[0]) / fleet.hbm_byte_s,
        "products": 2 * (held.shared + held.logits) * tokens / fleet.gemm_flop_s * multiply,
        "experts": held.experts * hit * fleet.moe_byte * read_moe / fleet.hbm_byte_s,
        "routed": 2 * held.experts * routed * tokens * fleet.adp / fleet.moe_flop_s * multiply_moe,
        "keys": batch * keys / fleet.hbm_byte_s * _KV,
        "scores": tokens
        * core
        / fleet.tp
        / fleet.core_flop_s
        * np.where(d.kv_rank > 0, _DECODE_CORE[1], _DECODE_CORE[0]),
        **_latencies(fleet),
        **_traffic(fleet, tokens),
        "step": np.full(len(fleet), _STEP_S),
        "requests": batch * _REQUEST_S,
        "routing": tokens * np.minimum(fleet.adp, np.maximum(d.experts_per_token, 1)) * d.moe_layers * _ROUTE_S,
    }


def prefill_terms(fleet: Fleet) -> Terms:
    """Seconds (n,) that one prompt adds to passes of the pool that `prefilling()` put in place, latencies apart."""
    d, held = fleet.model, weights_of(fleet)
    new = fleet.prompt * (1 - fleet.prefix_hit)
    core = forward_flop(d, new, fleet.prompt).core
    routed = d.experts_per_token / np.maximum(d.experts, 1)
    split = np.where(fleet.tp > 1, 2 * d.layers * new * d.hidden * 2 * _ACTIVATION * (fleet.tp - 1) / fleet.tp, 0.0)
    return {
        "p_products": 2 * held.shared * new / fleet.gemm_flop_s * _ratios(fleet.gemm, _MULTIPLY, 1),
        "p_routed": 2
        * held.experts
        * fleet.adp
        * routed
        * new
        / fleet.moe_flop_s
        * _ratios(fleet.moe, _EXPERTS_MULTIPLY, 3),
        "p_scores": core / fleet.tp / fleet.core_flop_s * _PREFILL_CORE,
        "p_reduce": split / _link(fleet, fleet.tp) * _REDUCE_BYTE,
        "p_elements": new * d.layers * d.hidden / _WIDTH * _TOKEN_S,
        "p_routing": new * d.moe_layers * _ROUTE_S,
    }


def prompt_reads(fleet: Fleet) -> Terms:
    """Seconds (n,) that the pool which `prefilling()` put in place reads weights for in the pass of one prompt."""
    held, d = weights_of(fleet), fleet.model
    hit = experts_hit(fleet, fleet.prompt * (1 - fleet.prefix_hit))
    read, read_moe = _ratios(fleet.gemm, _READ, 0), _ratios(fleet.moe, _EXPERTS_READ, 2)
    return {
        "read": held.shared * fleet.gemm_byte * read / fleet.hbm_byte_s,
        "read_experts": held.experts * hit * fleet.moe_byte * read_moe / fleet.hbm_byte_s * (d.moe_layers > 0),
    }


def experts_hit(fleet: Fleet, tokens: Floats) -> Floats:
    """The share (n,) of experts that at least one of `tokens` is sent to: 1 - (1 - k/E)^B for even routing."""
    d = fleet.model
    share = np.minimum(d.experts_per_token / np.maximum(d.experts, 1), 1.0)
    return np.asarray(1 - (1 - share) ** np.maximum(tokens, 1.0))


def heads_split(fleet: Fleet) -> Floats:
    """Over how many devices (n,) the keys of a token are spread: latent ones over none, others by heads."""
    d = fleet.model
    return np.where(d.kv_rank > 0, 1.0, np.minimum(fleet.tp, np.maximum(d.kv_heads, 1))) * fleet.pp


def _latencies(fleet: Fleet) -> Terms:
    d = fleet.model
    latent = (d.kv_rank > 0) * d.layers
    return {
        "layers": d.layers * _LAYER_S,
        "moe_layers": d.moe_layers
        * np.where(fleet.newer > 0, _by(fleet.moe, _MOE_S, _MOE_WIDE_S[0]), _by(fleet.moe, _MOE_OLD_S, _MOE_WIDE_S[1])),
        "latent": latent * _LATENT_S,
        "linear": d.linear_layers * _LINEAR_S,
        "dp": (fleet.adp > 1) * d.moe_layers * _DP_S,
        "reduce": (fleet.tp > 1) * 2 * d.layers * _REDUCE_S,
        "reduce_log": np.log2(fleet.tp) * 2 * d.layers * _REDUCE_LOG_S,
    }


def _traffic(fleet: Fleet, tokens: Floats) -> Terms:
    """Seconds of all-reduces over tensor parallelism, and of sending tokens to experts of other groups and back."""
    d, devices = fleet.model, fleet.tp * fleet.adp
    reduced = 2 * d.layers * tokens * d.hidden * 2 * _ACTIVATION * (fleet.tp - 1) / fleet.tp
    sent = (fleet.adp > 1) * 2 * d.moe_layers * tokens * d.experts_per_token * d.hidden * _SENT
    return {
        "reduce_byte": reduced / _link(fleet, fleet.tp) * _REDUCE_BYTE,
        "send_byte": sent / _link(fleet, devices) * _SEND_BYTE,
    }


def _link(fleet: Fleet, devices: Floats) -> Floats:
    """Bytes per second (n,) between so many devices: the network's where they are more than fast links join."""
    return np.where(devices > fleet.link_devices, fleet.net_byte_s, fleet.link_byte_s)


def _ratios(precisions: NDArray[np.str_], known: dict[str, float], which: int) -> Floats:
    return _by(precisions, known, _WIDE[which])


def _by(precisions: NDArray[np.str_], known: dict[str, float], other: float) -> Floats:
    names, index = np.unique(precisions, return_inverse=True)
    return np.array([known.get(str(name), other) for name in names])[index]
