"""How long one training step takes, in named parts: kernels, talk, waiting; over columns of cases at once.

Sources: Narayanan et al. 2021, arXiv 2104.04473 (tensor parallelism, interleaved 1F1B), Rajbhandari et al. 2020, arXiv
1910.02054 (ZeRO), Zhao et al. 2023, arXiv 2304.11277 (FSDP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.timing import kernels, links, weights
from pennyweight.layout.timing.layer import beyond, layer_s, tokens_of, total
from pennyweight.layout.timing.links import Group
from pennyweight.layout.timing.stack import STACK, Stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.timing.cases import Cases, Layouts, Machines
    from pennyweight.layout.timing.columns import Column

PARTS = (
    "matmul",
    "attention",
    "elementwise",
    "recompute",
    "logits",
    "tensor_parallel",
    "context_parallel",
    "experts",
    "host",
    "bubble",
    "point_to_point",
    "data_parallel",
    "optimizer",
    "fixed",
)
BACKWARD = 0.6  # of the passes of a micro-batch: what runs while its gradients are reduced


def step_s(cases: Cases, stack: Stack = STACK) -> NDArray[np.float64]:
    """Seconds of one step, in the shape that the cases broadcast to."""
    return np.broadcast_to(total(_parts(cases, stack)), cases.shape)


def parts_s(cases: Cases, stack: Stack = STACK) -> NDArray[np.float64]:
    """Seconds of one step by part, in the order of `PARTS`, along a last axis beyond the shape of the cases."""
    found, shape = _parts(cases, stack), cases.shape
    return np.stack([np.broadcast_to(found[name], shape) for name in PARTS], axis=-1)


def model_flop(cases: Cases) -> NDArray[np.float64]:
    """FLOP of one step per device, forward, twice that backward, and recomputed layers once more; layers and logits.

    Attention is counted over all pairs of tokens, causal or not, as in the formulas that utilisations are published by.
    """
    model, layout = cases.model, cases.layout
    active = model.body + model.bank * model.experts_per_token / np.maximum(model.experts, 1.0)
    pairs = 2.0 * (model.attention + model.attention_near) * cases.sequence
    layers = 2.0 * model.layers * (active + pairs)
    each = (3.0 + (layout.recompute > 1.0)) * layers + 6.0 * model.vocab * model.hidden
    devices = layout.tp * layout.pp * layout.dp * layout.cp
    return np.asarray(cases.global_batch * cases.sequence * each / devices)


def _parts(cases: Cases, stack: Stack) -> dict[str, Column]:
    """Each part by name, in seconds per step."""
    layout, passes, slots = cases.layout, cases.micro_batches, _slots(cases)
    layer = layer_s(cases, stack)
    each = total(layer)
    stage = slots * each
    spare = 0.5 * (slots * layout.pp - cases.model.layers) * each
    sends = (layout.pp > 1.0) * 2.0 * layout.chunks * (passes + layout.pp - 1.0)
    return {name: passes * slots * seconds for name, seconds in layer.items()} | {
        "logits": passes * np.maximum(stack.logits * 3.0 * _logits(cases) - spare, 0.0),
        "bubble": stack.bubble * (layout.pp - 1.0) / layout.chunks * stage,
        "point_to_point": stack.send * sends * _send(cases),
        "data_parallel": layout.trained * _data(cases, stack, stage),
        "optimizer": layout.trained * stack.optimizer * weights.optimizer_byte(cases) / cases.machine.hbm_byte_s,
        "fixed": stack.fixed_s,
    }


def _slots(cases: Cases) -> Column:
    """Layers of the busiest stage: chunks are whole layers.

    Where layers do not divide, the first and the last stage have fewer, so that embedding and logits find room there.
    """
    chunks = cases.layout.pp * cases.layout.chunks
    return np.ceil(cases.model.layers / chunks - 1e-9) * cases.layout.chunks


def _logits(cases: Cases) -> Column:
    return kernels.logits_s(tokens_of(cases), cases.model.vocab / cases.layout.tp, cases.model.hidden, cases.machine)


def _send(cases: Cases) -> Column:
    """One micro-batch to the next stage: each tensor-parallel rank sends its share, as Megatron does."""
    layout, machine = cases.layout, cases.machine
    beside = 1.0 * (layout.tp * layout.cp * layout.dp * layout.pp <= machine.node)
    return links.send_s(kernels.HALF * tokens_of(cases) * cases.model.hidden / layout.tp, beside, machine)


def _data(cases: Cases, stack: Stack, micro_s: Column) -> Column:
    """What is left of data-parallel traffic once a share of it has run behind the passes (of `micro_s` seconds each).

    Gradients are reduced once a step, behind the last backward pass. With sharded weights (ZeRO-3, FSDP) each layer is
    gathered forward and backward, and its gradients scattered, in every micro-batch; where only gradients are sharded
    (ZeRO-2 as FSDP does it) layers are gathered once.
    """
    layout, passes = cases.layout, cases.micro_batches
    sharded = layout.zero >= 2.0
    spoken = stack.data * np.where(sharded, passes * _sharded(cases), _reduced(cases))
    behind = micro_s * np.where(sharded, passes, BACKWARD)
    share = stack.overlap * layout.overlap
    return (1.0 - share) * spoken + share * beyond(behind, spoken)


def _reduced(cases: Cases) -> Column:
    """One all-reduce of all gradients, those of experts among the devices that hold the same ones."""
    layout, machine = cases.layout, cases.machine
    body, bank = weights.held(cases)
    whole, apart = _alike(layout, machine)
    return links.all_reduce_s(kernels.HALF * body, whole, machine) + links.all_reduce_s(
        kernels.HALF * bank, apart, machine
    )


def _sharded(cases: Cases) -> Column:
    """Gathers and scatters of one micro-batch, layer by layer."""
    layout, machine = cases.layout, cases.machine
    layers = cases.model.layers / layout.pp
    body, bank = weights.held(cases)
    whole, apart = _alike(layout, machine)
    each = links.gather_s(kernels.HALF * body / layers, whole, machine) + (bank > 0.0) * links.gather_s(
        kernels.HALF * bank / layers, apart, machine
    )
    return layers * each * np.where(layout.zero >= 3.0, 3.0, 2.0)


def _alike(layout: Layouts, machine: Machines) -> tuple[Group, Group]:
    """The devices that hold the same of what is in no expert, and those that hold the same experts."""
    whole = Group.of(layout.replicas, layout.tp, machine.node)
    return whole, Group.of(layout.expert_replicas, layout.ep * layout.etp, machine.node)
