"""Megatron-LM's published scaling runs: SC21 Table 1, Korthikanti et al. 2022 Table 5, and the README of 2020.

A step of SC21 and of the README is derived from the FLOP rate they state (their own count of FLOP), that of
Korthikanti is as published. The README's runs reduced gradients behind the backward pass, the others did not. SC21's
interleaved runs are some 5% slower than Korthikanti's of the same model and layout: another year of software, which
is a trait here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from pennyweight.cost.learn.process import Part
from pennyweight.layout.tables.accelerators import named, stood_in, unknown
from pennyweight.layout.tables.gpt import OFF, models, told_of
from pennyweight.layout.tables.standing import joined
from pennyweight.layout.tables.steps import STEP, Asked, Reading, StepTable, names, off_of, recompute_of
from pennyweight.layout.timing.cases import Cases, Layouts, Machines
from pennyweight.layout.timing.fitted import Prior, Recipe
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.stack import STACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

_RECIPE = Recipe(
    Prior(
        {
            "matmul": 0.1,
            "attention": 0.2,
            "scores": 0.5,
            "stream": 0.3,
            "inner": 0.3,
            "tensor": 0.2,
            "send": 0.3,
            "data": 0.3,
            "logits": 0.2,
            "optimizer": 0.2,
            "host_s": 0.3,
            "bubble": 0.1,
            "fixed_s": 0.5,
        },
        STACK.changed(
            {
                "matmul": 1.0,
                "stream": 8.0,
                "inner": 4.0,
                "scores": 7.0,
                "logits": 1.0,
                "tensor": 1.0,
                "host_s": 2e-4,
                "send": 1.5,
                "data": 1.0,
                "fixed_s": 0.01,
            }
        ),
        noise=0.02,
    ),
    parts=(Part(0.02, same=("table",)), Part(0.03, same=("gpu",)), Part(0.03, same=("table",), near={"size": 1.5})),
    noise=0.02,
    splits=("model",),
)
_NEEDED = ("tp", "pp", "dp", "micro_batch", "global_batch")


def _read(rows: Rows) -> Asked:
    told = told_of(rows, *_NEEDED)
    number = told.number
    problem = np.where(told.usable, unknown(rows.text("gpu")), "The row does not say its model or its layout.")
    usable = np.char.str_len(problem) == 0
    table, gpu = rows.text("table"), rows.text("gpu")
    virtual = rows.number("layers_per_virtual_stage")
    chunks = np.where((virtual > 0) & (number["pp"] > 1), number["layers"] / number["pp"] / virtual, 1.0)
    layout = Layouts.at(
        **{name: number[name] for name in ("tp", "pp", "dp", "micro_batch")},
        chunks=chunks,
        zero=rows.true("dist_optimizer") * 1.0,
        sequence_parallel=rows.true("sequence_parallel") * 1.0,
        recompute=recompute_of(rows.text("recompute")),
        overlap=np.char.startswith(table, "Megatron-LM README") * 1.0,
    )
    machines = Machines.of(
        [
            machine(named(each if fit else "a100-80gb"), "fp16")
            for each, fit in zip(gpu.tolist(), usable.tolist(), strict=True)
        ]
    )
    cases = Cases(models(told), layout, machines, number["seq_len"], number["global_batch"])
    traits = {
        "table": table,
        "gpu": gpu,
        "size": np.log2(number["layers"] * number["hidden"] ** 2),
        "model": names(*(rows.text(each) for each in ("layers", "hidden"))),
    }
    label, devices = names(rows.text("model"), rows.text("n_gpus"), gpu), stood_in(gpu, problem)
    standing = joined(told.standing, devices), off_of(devices, OFF)
    return Asked(cases, traits, np.full(len(rows), "megatron"), label, problem, *standing)


READING = Reading(_read, {"megatron": _RECIPE})


@final
class MegatronPublished(StepTable):
    """Seconds per step on A100 and V100; held out by model (its layers and width, wherever it was published)."""

    name: ClassVar[str] = "megatron_published"
    reading: ClassVar[Reading] = READING
    columns: ClassVar[frozenset[str]] = frozenset(
        {"table", "gpu", "layers", "hidden", "heads", "seq_len", "layers_per_virtual_stage", "recompute", *_NEEDED}
    )

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per step (n,), as reported, otherwise as derived from the reported FLOP rate."""
        reported = rows.number("step_time_s_reported")
        return {STEP: np.where(np.isfinite(reported), reported, rows.number("step_time_s_derived"))}


TABLE = MegatronPublished()
