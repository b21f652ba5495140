"""Parameters as columns: what one device holds, and what its optimiser reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pennyweight.layout.timing.cases import Cases
    from pennyweight.layout.timing.columns import Column

OPTIMIZER_BYTE = 28.0  # per parameter: gradient read, fp32 weight and two moments read and written, weight written


def held(cases: Cases, *, last: bool = False) -> tuple[Column, Column]:
    """Parameters of one device of the first or last stage before data-parallel sharding: outside of experts, in them.

    All is split over tensor parallelism, the few norms too; experts over `ep` and their own tensor parallelism. The
    last of several stages has the matrix of the logits, or a copy of the embedding where that is tied, as in
    Megatron-LM.
    """
    model, layout = cases.model, cases.layout
    layers, one = model.layers / layout.pp, 1.0 * (layout.pp <= 1.0)
    copied = model.tail + model.tied * model.vocab * model.hidden
    ends = one * (model.ends + model.tail) + (1.0 - one) * (copied if last else model.ends)
    return (layers * model.body + ends) / layout.tp, layers * model.bank / (layout.ep * layout.etp)


def optimizer_byte(cases: Cases) -> Column:
    """Bytes that the optimiser of one device moves in a step: Adam in mixed precision, sharded from ZeRO-1 on."""
    layout = cases.layout
    body, bank = held(cases)
    sharded = layout.zero > 0.0
    shards = np.where(sharded, layout.replicas, 1.0)
    expert_shards = np.where(sharded, layout.expert_replicas, 1.0)
    return OPTIMIZER_BYTE * (body / shards + bank / expert_shards)
