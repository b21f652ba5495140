"""vTrain's validation rows (Bang et al. 2024): GPTs trained with Megatron on 2 to 512 A100, fp16, 1F1B, recompute.

The 1,080 single-node rows are exactly linear in the number of micro-batches, and equal but for a constant where only
the number of replicas differs: they were composed of measured passes, so what one pass of a layer takes at a width,
degree and micro-batch is found again in every row that has it. The multi-node rows are single measurements; some of
39B with few tensor-parallel ranks, and those of one micro-batch of 64, are up to twice as slow as their neighbours,
and nothing that the table says tells why. They are kept; fits are robust to them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from pennyweight.cost.learn.process import Part
from pennyweight.layout.tables.accelerators import named
from pennyweight.layout.tables.gpt import OFF, models, told_of
from pennyweight.layout.tables.steps import STEP, Asked, Reading, StepTable, names, recompute_of
from pennyweight.layout.timing.cases import Cases, Layouts, Machines
from pennyweight.layout.timing.fitted import Prior, Recipe
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.stack import STACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

# Megatron of 2021 and 2022 on A100: attention is not fused, and communication hides behind nothing.
_MEGATRON = STACK.changed(
    {
        "matmul": 1.07,
        "attention": 0.8,
        "stream": 5.5,
        "inner": 3.0,
        "scores": 7.0,
        "host_s": 1.2e-3,
        "tensor": 1.1,
        "send": 1.7,
        "data": 1.5,
        "overlap": 1e-6,
        "bubble": 1.05,
        "logits": 1.0,
    }
)
_SINGLE = Recipe(
    Prior(
        {
            "matmul": 0.2,
            "attention": 0.3,
            "scores": 0.5,
            "stream": 0.5,
            "inner": 0.5,
            "tensor": 0.4,
            "send": 0.7,
            "data": 0.7,
            "logits": 0.3,
            "optimizer": 0.7,
            "host_s": 0.7,
            "bubble": 0.2,
            "fixed_s": 1.0,
        },
        _MEGATRON,
    ),
    parts=(
        Part(0.1, near={"tp": 1.0, "micro": 1.0, "hidden": 0.7}),
        Part(0.05, near={"tp": 1.0, "micro": 1.0, "hidden": 1.0, "dp": 1.5, "pp": 1.5, "passes": 2.0, "layers": 2.0}),
    ),
    noise=0.005,
    splits=("shape", "layout"),
    refit=False,
)
_MULTI = Recipe(
    Prior(
        {"matmul": 0.05, "tensor": 0.2, "send": 0.3, "data": 0.3, "bubble": 0.1, "host_s": 0.3}, _MEGATRON, robust=1.0
    ),
    parts=(
        Part(0.02, near={"tp": 1.0, "pp": 1.5, "dp": 1.5, "micro": 1.5}),
        Part(0.1, near={"hidden": 0.4, "tp": 0.7, "pp": 1.5, "dp": 1.5, "micro": 1.0}),
    ),
    noise=0.03,
    splits=("shape", "layout"),
)
_NEEDED = ("tp", "dp", "pp", "micro_batch", "global_batch")


def _read(rows: Rows) -> Asked:
    told = told_of(rows, *_NEEDED)
    number = told.number
    layout = Layouts.at(
        **{name: number[name] for name in ("tp", "dp", "pp", "micro_batch")},
        recompute=recompute_of(rows.text("recompute")),
        overlap=np.zeros(len(rows)),
    )
    machines = Machines.of([machine(named("a100-80gb"), "fp16", _net(each)) for each in rows.text("gpu").tolist()])
    cases = Cases(models(told), layout, machines, number["seq_len"], number["global_batch"])
    logs = {name: np.log2(number[name]) for name in ("tp", "dp", "pp", "layers", "hidden")}
    traits = logs | {
        "micro": np.log2(number["micro_batch"]),
        "passes": np.log2(cases.micro_batches),
        "shape": _joined(rows, "layers", "hidden", "heads", "seq_len"),
        "layout": _joined(rows, "tp", "dp", "pp", "micro_batch"),
    }
    few = number["tp"] * number["dp"] * number["pp"] <= machines.node
    single = np.where(np.char.str_len(rows.text("set")) > 0, np.char.startswith(rows.text("set"), "single"), few)
    kind = np.where(single, "single node", "many nodes")
    label = names(*(rows.text(name) for name in ("layers", "hidden", "tp", "dp", "pp", "micro_batch")))
    problem = np.where(told.usable, "", "The row does not say its model or its layout.")
    label = np.char.add("layers hidden tp dp pp micro-batch: ", label)
    return Asked(cases, traits, kind, label, problem, told.standing, OFF)


def _joined(rows: Rows, *columns: str) -> NDArray[np.str_]:
    return names(*(rows.text(name) for name in columns))


def _net(gpu: str) -> float | None:
    """Byte per second of network per device, of a text such as `8 per node; 800 Gb/s inter-node`."""
    found = re.search(r"(\d+) per node; (\d+) Gb/s", gpu)
    return float(found[2]) * 1e9 / 8.0 / float(found[1]) if found else None


READING = Reading(_read, {"single node": _SINGLE, "many nodes": _MULTI})


@final
class VTrain(StepTable):
    """Seconds per step on A100; held out by shape (of the model) and by layout."""

    name: ClassVar[str] = "vtrain"
    reading: ClassVar[Reading] = READING
    columns: ClassVar[frozenset[str]] = frozenset(
        {"set", "gpu", "layers", "hidden", "heads", "seq_len", "schedule", *_NEEDED}
    )
    splits: ClassVar[tuple[str, ...]] = ("shape", "layout")

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per step (n,)."""
        return {STEP: rows.number("step_time_ms") / 1e3}


TABLE = VTrain()
