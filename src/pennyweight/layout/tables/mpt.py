"""LLM Foundry's published benchmarks of MPT: PyTorch FSDP on 8 to 512 A100 or H100, 125M to 70B, 512 to 65k tokens.

A step is the batch over the throughput per GPU, which has four digits where the table's own samples per second are
rounded. A row is one replica per GPU, weights sharded over all of them; activation checkpointing is full recompute.
Rows of two systems are far from their neighbours for no stated reason (30B at 8,192 tokens on 8 GPUs of both kinds,
1B on 32 A100): fits are robust to them. Utilisations in the table are computed from the throughput and are not looked
at.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.process import Part
from pennyweight.layout.tables.accelerators import named, stood_in, unknown
from pennyweight.layout.tables.gpt import OFF, models, told_of
from pennyweight.layout.tables.standing import joined
from pennyweight.layout.tables.steps import Asked, Reading, StepTable, by_throughput, names, off_of
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
            "attention": 0.5,
            "stream": 0.4,
            "inner": 0.4,
            "logits": 0.2,
            "data": 0.4,
            "overlap": 0.1,
            "host_s": 0.5,
            "optimizer": 0.3,
            "fixed_s": 0.7,
        },
        STACK.changed(
            {
                "matmul": 0.95,
                "attention": 1.5,
                "stream": 14.0,
                "inner": 6.0,
                "logits": 1.0,
                "host_s": 2e-4,
                "data": 1.0,
            }
        ),
        noise=0.03,
    ),
    parts=(
        Part(0.03, near={"devices": 1.5}),
        Part(0.03, same=("checkpointed",)),
        Part(0.05, same=("precision",)),
        Part(0.03, near={"hidden": 1.0, "sequence": 1.5, "tokens": 2.0}),
    ),
    noise=0.02,
    splits=("model",),
    robust=1.5,
)
_NEEDED = ("n_gpus", "micro_batch", "global_batch")


def _read(rows: Rows) -> Asked:
    gpu, precision = rows.text("gpu"), rows.text("precision")
    told = told_of(rows, *_NEEDED)
    number = told.number
    problem = np.where(told.usable, unknown(gpu), "The row does not say its model or its batch.")
    usable = np.char.str_len(problem) == 0
    layout = Layouts.at(
        dp=number["n_gpus"],
        zero=np.where(rows.text("sharding") == "FULL_SHARD", 3.0, 2.0),
        micro_batch=number["micro_batch"],
        recompute=rows.true("act_ckpt") * 2.0,
    )
    asked = zip(gpu.tolist(), precision.tolist(), rows.text("section").tolist(), usable.tolist(), strict=True)
    machines = Machines.of([_machine(name, bits, section) if fit else _STAND_IN for name, bits, section, fit in asked])
    cases = Cases(models(told), layout, machines, number["seq_len"], number["global_batch"])
    traits = {
        "hidden": np.log2(number["hidden"]),
        "sequence": np.log2(number["seq_len"]),
        "tokens": np.log2(number["micro_batch"] * number["seq_len"]),
        "devices": np.log2(number["n_gpus"]),
        "checkpointed": rows.text("act_ckpt"),
        "precision": precision,
        "model": rows.text("model"),
    }
    label = names(rows.text("model"), gpu, rows.text("n_gpus"), rows.text("seq_len"))
    kind = np.char.replace(np.char.replace(np.char.lower(gpu), "-", "_"), " ", "_")
    devices = stood_in(gpu, problem)
    return Asked(cases, traits, kind, label, problem, joined(told.standing, devices), off_of(devices, OFF))


def _machine(name: str, precision: str, section: str) -> Any:
    node = re.search(r"(\d+) Gbps node", section)
    net = float(node[1]) * 1e9 / 8.0 / 8.0 if node else None
    return machine(named(name), "fp8" if "fp8" in precision else "bf16", net)


_STAND_IN = machine(named("a100-80gb"))


READING = Reading(_read, defaultdict(lambda: _RECIPE))  # each kind of GPU is fitted by itself, by one recipe


@final
class Mpt(StepTable):
    """Seconds per step of FSDP; held out by model."""

    name: ClassVar[str] = "mpt"
    reading: ClassVar[Reading] = READING
    columns: ClassVar[frozenset[str]] = frozenset(
        {
            "section",
            "model",
            "layers",
            "hidden",
            "heads",
            "seq_len",
            "gpu",
            "sharding",
            "act_ckpt",
            "precision",
            *_NEEDED,
        }
    )

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per step (n,), from the throughput."""
        return by_throughput(rows)

    def labels(self, rows: Rows) -> NDArray[np.str_]:
        """Model, devices, precision, tokens of a sequence, and what share of the peak they reached as published."""
        columns = (rows.text(name) for name in ("model", "n_gpus", "gpu", "precision", "seq_len"))
        shares = [f", {each:.0f}% MFU" if each > 0 else "" for each in rows.number("mfu_pct").tolist()]
        told = zip(*columns, shares, strict=True)
        return np.array(
            [f"{m}, {n} × {gpu}, LLM Foundry, {bits}, {tokens} tokens{mfu}" for m, n, gpu, bits, tokens, mfu in told]
        )


TABLE = Mpt()
