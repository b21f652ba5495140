"""How long the passes of one micro-batch through one layer take on one device, by part; over columns of cases at once.

A pass forward is counted once, backward twice for matrix products and what only moves memory, two and a half times for
attention (Dao 2023, arXiv 2307.08691, section 3.1.2); recomputed layers go forward once more (Korthikanti et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.timing import kernels, links
from pennyweight.layout.timing.links import Group

if TYPE_CHECKING:
    from pennyweight.layout.timing.cases import Cases
    from pennyweight.layout.timing.columns import Column
    from pennyweight.layout.timing.stack import Stack


# FLOP per token and number remembered: four to write and read it, about as many inside chunks of 256 tokens, where
# keys are 128 wide.
SCAN = 8.0


@dataclass(frozen=True, slots=True)
class _Forward:
    """Seconds of one forward pass by part."""

    matmul: Column
    attention: Column
    elementwise: Column
    tensor: Column
    context: Column
    experts: Column


def layer_s(cases: Cases, stack: Stack) -> dict[str, Column]:
    """Seconds of all passes of one micro-batch through one layer, the mean over layers of mixed kinds, by part.

    `host` is only what the device waits for its launches.
    """
    layout, once = cases.layout, _forward(cases, stack)
    full, core = layout.recompute > 1.0, layout.recompute > 0.0
    parts = {
        "matmul": (2.0 + layout.trained) * once.matmul,
        "attention": 3.5 * once.attention,
        "elementwise": 3.0 * once.elementwise,
        "recompute": full * (once.matmul + once.elementwise) + core * once.attention,
        "tensor_parallel": (2.0 + full) * once.tensor,
        "context_parallel": (2.0 + core) * once.context,
    }
    parts["experts"] = _visible(total(parts), (2.0 + full) * once.experts, stack.overlap)
    launched = (2.0 + full) * (stack.host_s + cases.model.routed * stack.expert_host_s)
    return parts | {"host": beyond(total(parts), launched)}


def total(parts: dict[str, Column]) -> Column:
    """All parts together."""
    found: Column = np.float64(0.0)
    for part in parts.values():
        found = found + part  # ruff: ignore[non-augmented-assignment] - in place it would not broadcast
    return found


def beyond(busy: Column, other: Column) -> Column:
    """How much longer `other` takes than `busy` where both run beside each other; smooth, and never below zero."""
    apart = other - busy
    return 0.5 * (apart + np.sqrt(apart * apart + 0.04 * busy * other))


def _visible(busy: Column, spoken: Column, share: float) -> Column:
    """What is left of talk of which a share runs beside what another micro-batch computes."""
    return (1.0 - share) * spoken + share * beyond(busy, spoken)


def tokens_of(cases: Cases) -> Column:
    """Tokens of one micro-batch on one device."""
    return cases.layout.micro_batch * cases.sequence / cases.layout.cp


def _forward(cases: Cases, stack: Stack) -> _Forward:
    tokens = tokens_of(cases)
    return _Forward(
        matmul=stack.matmul * _matmul(cases, tokens, stack.grouped),
        attention=stack.attention * _attention(cases),
        elementwise=kernels.moved_s(kernels.HALF * _numbers(cases, tokens, stack), cases.machine),
        tensor=stack.tensor * _tensor(cases, tokens),
        context=stack.context * _context(cases, tokens),
        experts=stack.experts * cases.model.routed * _dispatch(cases, tokens),
    )


def _matmul(cases: Cases, tokens: Column, grouped: float) -> Column:
    model, machine, split = cases.model, cases.machine, 1.0 / cases.layout.tp
    mixer = kernels.matmul_s(tokens, model.mixer_in * split, model.hidden, machine) + kernels.matmul_s(
        tokens, model.hidden, model.mixer_out * split, machine
    )
    dense = model.dense * _block(tokens, model.hidden, model.ffn * split, cases)
    shared = model.routed * kernels.matmul_s(tokens, model.shared * split, model.hidden, machine)
    return mixer + dense + shared + model.routed * grouped * _experts_matmul(cases, tokens)


def _block(tokens: Column, outer: Column, inner: Column, cases: Cases) -> Column:
    """The two or three products of a feed-forward block."""
    up = kernels.matmul_s(tokens, (1.0 + cases.model.gated) * inner, outer, cases.machine)
    return up + kernels.matmul_s(tokens, outer, inner, cases.machine)


def _experts_matmul(cases: Cases, tokens: Column) -> Column:
    """Grouped products: each of a device's experts sees its even share of the tokens of its expert group."""
    model, layout = cases.model, cases.layout
    held = model.experts / layout.ep
    each = tokens * layout.etp / layout.tp * model.experts_per_token / np.maximum(held, 1e-9)
    return held * _block(each, model.moe_hidden, model.moe_ffn / layout.etp, cases)


def _numbers(cases: Cases, tokens: Column, stack: Stack) -> Column:
    """Numbers read and written outside matrix products and fused attention."""
    model, layout = cases.model, cases.layout
    split = 1.0 / layout.tp
    spread = np.where(layout.sequence_parallel > 0.0, split, 1.0)
    routed = model.routed * model.experts_per_token
    wide = (1.0 + model.gated) * (model.dense * model.ffn + routed * model.moe_ffn) + model.linear
    inside = (
        stack.inner * wide
        + stack.permute * routed * layout.etp * model.moe_hidden
        + stack.scores * cases.sequence * model.heads
    )
    return tokens * (stack.stream * model.hidden * spread + inside * split)


def _attention(cases: Cases) -> Column:
    """Softmax attention: half of the pairs where causal, the window where there is one, a share by context parallel."""
    model, layout, sequence = cases.model, cases.layout, cases.sequence
    near = np.minimum(model.window * (1.0 + model.causal), sequence)
    pad = cases.machine.head_pad
    tiles = (1.0 + pad / model.head_dim) / (1.0 + pad / 128.0)
    width = tiles * (model.attention + model.attention_near * near / sequence) / (layout.tp * layout.cp)
    whole = kernels.attention_s(layout.micro_batch, sequence, sequence, width, cases.machine)
    return whole * (1.0 - 0.5 * model.causal) + _scan(cases)


def _scan(cases: Cases) -> Column:
    """A linear recurrence in chunks of some hundred tokens, at the rate of attention (Dao & Gu 2024, section 6)."""
    return SCAN * tokens_of(cases) * cases.model.state / cases.layout.tp / cases.machine.attention_flop_s


def _tensor(cases: Cases, tokens: Column) -> Column:
    """An all-reduce for each block whose matrices are split (or as many bytes gathered and scattered).

    What experts share takes half as much as a dense block; experts that are split take as much as one (Megatron-LM's
    default dispatcher gathers tokens before they are dealt out).
    """
    layout, machine, model = cases.layout, cases.machine, cases.model
    group = Group.of(layout.tp, 1.0, machine.node)
    byte = kernels.HALF * tokens * model.hidden
    blocks = 1.0 + model.dense + model.routed * (0.5 + (layout.etp > 1.0))
    return blocks * links.all_reduce_s(byte, group, machine)


def _context(cases: Cases, tokens: Column) -> Column:
    """Keys and values of the whole sequence reach each device."""
    layout, machine = cases.layout, cases.machine
    group = Group.of(layout.cp, layout.tp, machine.node)
    byte = kernels.HALF * tokens * layout.cp * cases.model.kv / layout.tp
    return links.gather_s(byte, group, machine)


def _dispatch(cases: Cases, tokens: Column) -> Column:
    """Tokens to the devices of their experts and back."""
    layout, machine = cases.layout, cases.machine
    group = Group.of(layout.ep, 1.0, machine.node)
    byte = kernels.HALF * tokens * cases.model.moe_hidden / layout.tp
    return 2.0 * links.dispatch_s(byte, cases.model.experts_per_token, group, machine)
