"""How long one kernel takes: matrix products, attention, and work that is bound by memory; over columns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pennyweight.layout.timing.cases import Machines
    from pennyweight.layout.timing.columns import Column

HALF = 2.0  # bytes of a bf16 or fp16 number
LOSS_BYTE = 16.0 / 3.0  # per logit and pass: fp32 logits are written and read twice in all three passes together


def matmul_s(m: Column, n: Column, k: Column, machine: Machines) -> Column:
    """Seconds of one (m, k) · (k, n) product in the machine's own precision, without its launch.

    Small sides are padded, since kernels work in tiles and fp8 operands are cast first: the arithmetic is that of
    (m + pad_m)(n + pad_n)(k + pad_k), and the traffic of operands and result adds to it as the longer of two sides of a
    right triangle. The pads are fitted (see `catalog/matmul.csv`).
    """
    work = 2.0 * (m + machine.pad_m) * (n + machine.pad_n) * (k + machine.pad_k) / machine.flop_s
    moved = (machine.operand_byte * k * (m + n) + HALF * m * n) / machine.hbm_byte_s
    return np.sqrt(work * work + moved * moved)


def logits_s(tokens: Column, vocab: Column, hidden: Column, machine: Machines) -> Column:
    """Seconds of the product with the vocabulary, in bf16, and a third of what its loss moves."""
    work = 2.0 * (tokens + 64.0) * vocab * (hidden + 64.0) / machine.flop_s_bf16
    return work + LOSS_BYTE * tokens * vocab / machine.hbm_byte_s


def attention_s(sequences: Column, tokens: Column, context: Column, width: Column, machine: Machines) -> Column:
    """Seconds of fused attention of `tokens` queries over `context` keys each, by heads `width` wide together.

    4 FLOP per query, key and channel; short contexts pay for whole tiles (fitted, see `catalog/attention.csv`).
    """
    work = 4.0 * sequences * (tokens + machine.attention_pad) * (context + machine.attention_pad) * width
    return work / machine.attention_flop_s


def moved_s(byte: Column, machine: Machines) -> Column:
    """Seconds of kernels that only read and write memory."""
    return byte / machine.hbm_byte_s
