"""Parameters as columns: what one device holds, and what its optimiser reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pennyweight.layout.timing.cases import Cases, Column

OPTIMIZER_BYTE = 28.0  # per parameter: gradient read, fp32 weight and two moments read and written, weight written


def held(cases: Cases) -> tuple[Column, Column]:
    """Parameters of one device of the first stage before data-parallel sharding: outside of experts, and in them."""
    model, layout = cases.model, cases.layout
    layers = model.layers / layout.pp
    return (layers * model.body + model.ends) / layout.tp, layers * model.bank / layout.ep


def optimizer_byte(cases: Cases) -> Column:
    """Bytes that the optimiser of one device moves in a step: Adam in mixed precision, sharded from ZeRO-1 on."""
    layout = cases.layout
    body, bank = held(cases)
    replicas = layout.dp * layout.cp
    sharded = layout.zero > 0.0
    shards = np.where(sharded, replicas, 1.0)
    expert_shards = np.where(sharded, np.maximum(replicas * layout.tp / layout.ep, 1.0), 1.0)
    return OPTIMIZER_BYTE * (body / shards + bank / expert_shards)
