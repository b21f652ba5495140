"""Training cases as columns: models, layouts and machines side by side, for arithmetic that runs over all at once.

Every field is a column (n,) or anything that broadcasts against the others: one model beside many layouts is a model of
shape () beside layouts of shape (n,); layouts (n, 1) beside machines (k,) are n · k cases. Pieces of some 4,096 cases
are timed fastest: what belongs to them stays in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.core.layout import RECOMPUTES
from pennyweight.cost.transformer import kv_byte_token, mixer_weights, shared_weights, split_parameters
from pennyweight.layout.timing.columns import Columns, column_of, shape_of, taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.core.layout import Layout
    from pennyweight.layout.timing.columns import Column
    from pennyweight.layout.timing.rates import Machine

_SAME = (
    "layers",
    "hidden",
    "heads",
    "head_dim",
    "vocab",
    "gated",
    "tied",
    "causal",
    "ffn",
    "experts",
    "experts_per_token",
    "moe_hidden",
    "moe_ffn",
)


@dataclass(frozen=True, slots=True)
class Models(Columns):
    """What a step needs to know of a transformer, as columns of floats: means over its layers, which may be mixed.

    `mixer_in` and `mixer_out` are the widths of the products before and after attention (or a recurrence, of which
    `linear` numbers per token are read and written, and `state` remembered); `attention` is the width of all heads
    together of layers that see everything, `attention_near` that of those that see a `window`; `kv` numbers per token
    are kept. `dense` is the share of layers with a dense block of width `ffn`, `routed` that of layers with experts, of
    which all tokens see the `shared` channels. `body` parameters of a layer belong to no expert, `bank` ones do;
    outside the layers `ends` are before them and `tail` after; where they are `tied` the logits have the matrix of the
    embedding.
    """

    layers: Column
    hidden: Column
    heads: Column
    head_dim: Column
    vocab: Column
    gated: Column
    tied: Column
    causal: Column
    mixer_in: Column
    mixer_out: Column
    linear: Column
    state: Column
    attention: Column
    attention_near: Column
    window: Column
    kv: Column
    dense: Column
    ffn: Column
    routed: Column
    experts: Column
    experts_per_token: Column
    moe_hidden: Column
    moe_ffn: Column
    shared: Column
    body: Column
    bank: Column
    ends: Column
    tail: Column

    @classmethod
    def of(cls, models: Sequence[Dims]) -> Self:
        """Columns (n,) of n models."""
        rows = [_facts(each) for each in models]
        return cls(**{each.name: np.array([row[each.name] for row in rows]) for each in fields(cls)})

    @classmethod
    def one(cls, model: Dims) -> Self:
        """One model, to be timed beside many layouts."""
        facts = _facts(model)
        return cls(**{each.name: facts[each.name] for each in fields(cls)})


@lru_cache(maxsize=4096)
def _facts(model: Dims) -> dict[str, float]:
    layers, hidden = model.layers, model.hidden
    full, near = model.attention_layers - model.window_layers, model.window_layers
    width = model.heads * (model.head_dim + model.v_dim) / 2
    out = (model.attention_layers * model.heads * model.v_dim + model.linear_layers * model.linear_out) / layers
    parts = split_parameters(model)
    same = {name: float(getattr(model, name)) for name in _SAME}
    return same | {
        "mixer_in": mixer_weights(model) / layers / hidden - out,
        "mixer_out": out,
        "linear": model.linear_layers * (model.linear_in + model.linear_out) / layers,
        "state": model.linear_layers * model.linear_state / layers,
        "attention": full * width / layers,
        "attention_near": near * width / layers,
        "window": float(model.window or model.max_context or 1 << 20),
        "kv": kv_byte_token(model, 1) / layers,
        "dense": (layers - model.ffnless - model.moe_layers) / layers,
        "routed": model.moe_layers / layers,
        "shared": shared_weights(model) / max(model.moe_layers, 1) / hidden,
        "body": (parts.layers - parts.experts) / layers,
        "bank": parts.experts / layers,
        "ends": float(parts.embedding),
        "tail": float(parts.logits),
    }


@dataclass(frozen=True, slots=True)
class Layouts(Columns):
    """Layouts as in `core.layout.Layout`, as columns of floats; `recompute` is 0 none, 1 selective, 2 full.

    `etp` is the tensor parallelism of experts: 1 where they are spread, as in NVIDIA's recipes, else that of everything
    else, Megatron-LM's default. `overlap` is 1 where gradients are reduced while the backward pass still runs, as every
    framework does by now; `trained` is the share of the weights that learn (adapters: next to none).
    """

    tp: Column
    pp: Column
    dp: Column
    cp: Column
    ep: Column
    etp: Column
    chunks: Column
    zero: Column
    micro_batch: Column
    sequence_parallel: Column
    recompute: Column
    overlap: Column
    trained: Column

    @classmethod
    def of(cls, layouts: Sequence[Layout]) -> Self:
        """Columns (n,) of n layouts."""
        own = {"etp", "recompute", "overlap", "trained"}
        names = [each.name for each in fields(cls) if each.name not in own]
        again = [float(RECOMPUTES.index(each.recompute)) for each in layouts]
        return cls.at(**{name: column_of(layouts, name) for name in names}, recompute=np.array(again))

    @classmethod
    def at(cls, **given: Column) -> Self:
        """Layouts from columns by name; what is not given is that of `Layout()`: one device, one sequence."""
        blank = {"zero": 0.0, "sequence_parallel": 0.0, "recompute": 0.0}
        if "etp" not in given and "tp" in given:
            given["etp"] = np.where(np.greater(given.get("ep", 1.0), 1.0), 1.0, given["tp"])
        return cls(**{each.name: given.get(each.name, blank.get(each.name, 1.0)) for each in fields(cls)})

    @property
    def replicas(self) -> Column:
        """How many devices hold the same of what is in no expert."""
        return self.dp * self.cp

    @property
    def expert_replicas(self) -> Column:
        """How many devices of a stage hold the same experts."""
        return np.maximum(self.tp * self.dp * self.cp / (self.ep * self.etp), 1.0)


@dataclass(frozen=True, slots=True)
class Machines(Columns):
    """What accelerators and their links can do, as columns: the numbers of `rates.Machine`."""

    flop_s: Column
    flop_s_bf16: Column
    operand_byte: Column
    pad_m: Column
    pad_n: Column
    pad_k: Column
    launch_s: Column
    attention_flop_s: Column
    attention_pad: Column
    head_pad: Column
    hbm_byte_s: Column
    link_byte_s: Column
    link_s: Column
    net_byte_s: Column
    net_s: Column
    node: Column

    @classmethod
    def of(cls, machines: Sequence[Machine]) -> Self:
        """Columns (n,) of n machines."""
        return cls(**{each.name: column_of(machines, each.name) for each in fields(cls)})

    @classmethod
    def one(cls, machine: Machine) -> Self:
        """One machine, to be timed beside many layouts."""
        return cls(**{each.name: float(getattr(machine, each.name)) for each in fields(cls)})


@dataclass(frozen=True, slots=True)
class Cases:
    """What is to be timed: models, layouts and machines beside tokens of a sequence and sequences of a step."""

    model: Models
    layout: Layouts
    machine: Machines
    sequence: Column
    global_batch: Column

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The chosen cases."""
        parts = self.model.take(chosen), self.layout.take(chosen), self.machine.take(chosen)
        return type(self)(*parts, taken(self.sequence, chosen), taken(self.global_batch, chosen))

    @property
    def shape(self) -> tuple[int, ...]:
        """What everything broadcasts to."""
        parts = self.model.shape, self.layout.shape, self.machine.shape
        return np.broadcast_shapes(*parts, shape_of(self.sequence), shape_of(self.global_batch))

    @property
    def micro_batches(self) -> Column:
        """Passes of one step through the pipeline; below one where the batch is too small for the layout."""
        return self.global_batch / (self.layout.dp * self.layout.micro_batch)
