"""NVIDIA's published performance of NeMo and Megatron-Bridge: H100 to GB300, bf16 to nvfp4, dense models and experts.

A row gives tensor, pipeline, context and expert parallelism but not how many replicas: that is what is left of the
GPUs, n / (tp · pp · cp). A blank, `n/a` or 0 degree is one. Tensor-parallel layers are sequence parallel; `fsdp`
above one is ZeRO-3, otherwise the optimiser is sharded (ZeRO-1), as the recipes do; adapters (LoRA) train none of the
weights. The step is the batch over tokens per second and GPU. Model FLOP rates in the table follow from the
throughput and are not looked at.

What the table does not tell moves mixtures of experts by some 10% either way: CUDA graphs, how tokens are dropped,
which dispatcher. From release 26.06 on, experts on Grace systems run a quarter faster, but not in models with
recurrences or with a sparse choice of tokens.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.cost.learn.process import Part
from pennyweight.cost.nearest_model import Nearest, nearest_model
from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.accelerators import named, standing_in, stood_in, unknown
from pennyweight.layout.tables.standing import joined
from pennyweight.layout.tables.steps import Asked, Reading, StepTable, by_throughput, names, off_of, with_mfu
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.fitted import Prior, Recipe
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.stack import STACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

# Models are few: fitting stacks within each fold did worse, also where rows of one model were taken as alike. That of
# dense models was set by hand, by the error on models left out, which therefore flatters it (all as in `STACK`: 5.4%
# instead of 5.3%). Experts have all as in `STACK` but gradients, which are reduced as fast as links alone are (as
# MPT's are not): 11.4%. Why rows are alike (`parts`) was chosen by that error in both.
_DENSE = Recipe(
    Prior({}, STACK.changed({"matmul": 1.05, "stream": 14.0, "inner": 4.0, "logits": 1.0, "tensor": 0.4})),
    parts=(
        Part(0.05),
        Part(0.05, same=("before 2025",)),
        Part(0.05, same=("precision",)),
        Part(0.04, same=("system",)),
        Part(0.05, same=("subtask",)),
        Part(0.05, same=("precision", "system")),
    ),
    noise=0.05,
    splits=("model",),
)
_EXPERTS = Recipe(
    Prior({}, STACK.changed({"data": 1.0})),
    parts=(
        Part(0.15),
        Part(0.1, same=("from 26.06", "grace", "usual")),
        Part(0.15, same=("usual",)),
        Part(0.05, same=("system",)),
        Part(0.2, same=("grace",), near={"micro": 0.7}),
        Part(0.04, same=("precision",)),
        Part(0.07, same=("precision", "usual")),
    ),
    noise=0.1,
    splits=("model",),
    robust=1.5,
)
_NONE = Nearest(Dims("none", 1, 128, 1, 512, 1024), exactly=True, note="The name of the model says no family or size.")
_NEEDED = ("n_gpus", "global_batch", "seq_len")
_ALL = (*_NEEDED, "micro_batch", "tp", "pp")
_DEGREES = ("tp", "pp", "cp", "vp", "ep", "fsdp")
_NUMBER = re.compile(r"\d{1,9}(\.\d*)?")
_NONE_SAID = frozenset({"", "n/a", "na", "nan", "none", "-", "null"})
# By how much further off models are that others of that size, or of any, stand in for: see bench/stand_ins.py.
_SIZED, _UNSIZED = 0.4, 1.0


def _read(rows: Rows) -> Asked:
    found = [_nearest(each) for each in rows.text("model").tolist()]
    systems = np.array([_system(each) for each in rows.text("system").tolist()])
    problem = _problems(rows, systems, found)
    usable = np.char.str_len(problem) == 0
    used = _dims(rows)
    number = {name: np.where(usable, rows.number(name), 1.0) for name in _NEEDED}
    number |= {name: _degree(rows, name) for name in ("micro_batch", "tp", "pp")}
    precision = np.array(list(map(_precision, rows.text("precision").tolist(), rows.text("variant").tolist())))
    asked = zip(systems.tolist(), precision.tolist(), usable.tolist(), strict=True)
    machines = Machines.of([machine(named(name if fit else "h100"), bits) for name, bits, fit in asked])
    layout = _layout(rows, number)
    cases = Cases(Models.of(used), layout, machines, number["seq_len"], number["global_batch"])
    traits = _traits(rows, used, number) | {"precision": precision, "system": systems}
    traits["grace"] = _yes(np.char.startswith(systems, "GB"))
    kind = np.array(["experts" if each.experts else "dense" for each in used])
    label = names(rows.text("model"), systems, rows.text("n_gpus"), rows.text("precision"))
    return Asked(cases, traits, kind, label, problem, *_standing(systems, problem, found))


def _dims(rows: Rows) -> list[Dims]:
    return [_nearest(each).dims for each in rows.text("model").tolist()]


def _standing(
    systems: NDArray[np.str_], problem: NDArray[np.str_], found: list[Nearest]
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """What stands in for models and devices (n,), and how far off (n,) that makes a row."""
    devices = stood_in(systems, problem)
    near = np.where([each.sized for each in found], _SIZED, _UNSIZED)
    return joined(np.array([each.note for each in found]), devices), off_of(devices, near)


def _problems(rows: Rows, systems: NDArray[np.str_], found: list[Nearest]) -> NDArray[np.str_]:
    stated = np.logical_and.reduce([rows.number(name) > 0 for name in _NEEDED])
    problem = np.where(stated, unknown(systems), "The row does not say its batch, its length or its GPUs.")
    for name in (*_DEGREES, "micro_batch"):
        texts = rows.text(name) if name in rows.columns else np.full(len(rows), "")
        odd = [text.lower() not in _NONE_SAID and not _NUMBER.fullmatch(text) for text in texts.tolist()]
        problem = np.where(odd, np.char.add(f"The row says no number of {name}: ", texts.astype("U40")), problem)
    return np.where([each is not _NONE for each in found], problem, _NONE.note)


def _layout(rows: Rows, number: Mapping[str, NDArray[np.float64]]) -> Layouts:
    cp, chunks, ep = _degree(rows, "cp"), _degree(rows, "vp"), _degree(rows, "ep")
    tp, pp = number["tp"], number["pp"]
    return Layouts.at(
        tp=tp,
        pp=pp,
        cp=cp,
        dp=np.maximum(number["n_gpus"] / (tp * pp * cp), 1.0),
        ep=ep,
        chunks=np.where(pp > 1, chunks, 1.0),
        zero=np.where(_degree(rows, "fsdp") > 1, 3.0, 1.0),
        micro_batch=number["micro_batch"],
        sequence_parallel=(tp > 1) * 1.0,
        trained=np.where(np.char.upper(rows.text("subtask")) == "LORA", 0.0, 1.0),
    )


def _traits(rows: Rows, dims: list[Dims], number: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
    release = np.array([_release(each) for each in rows.text("release").tolist()])
    plain = [not (each.linear_layers or each.index_layers) for each in dims]
    return {
        "model": np.array([each.name for each in dims]),
        "before 2025": _yes(release < 25.0),
        "from 26.06": _yes(release > 26.45),
        "usual": _yes(np.array(plain)),
        "subtask": rows.text("subtask"),
        "micro": np.log2(number["micro_batch"]),
    }


def _labels(rows: Rows) -> NDArray[np.str_]:
    systems = np.array([_system(each) for each in rows.text("system").tolist()])
    bits = list(map(_precision, rows.text("precision").tolist(), rows.text("variant").tolist()))
    known = np.char.str_len(unknown(systems)) == 0
    peaks = [named(name if fine else "h100").peak(each) for name, each, fine in zip(systems, bits, known, strict=True)]
    lora = np.char.upper(rows.text("subtask")) == "LORA"
    tokens_s = np.where(known & ~lora, rows.number("tokens_per_s_gpu"), np.nan)
    columns = rows.text("model"), rows.number("n_gpus"), systems, rows.text("release"), bits, lora
    labels = [
        f"{model}, {count:.0f} × {system}, NeMo {release.partition(' ')[0]}, {each}{', LoRA' * bool(tuned)}"
        for model, count, system, release, each, tuned in zip(*columns, strict=True)
    ]
    return with_mfu(np.array(labels), _dims(rows), rows.number("seq_len"), tokens_s, np.array(peaks))


def _yes(mask: NDArray[np.bool_]) -> NDArray[np.str_]:
    return np.where(mask, "yes", "no")


@lru_cache(maxsize=1024)
def _nearest(text: str) -> Nearest:
    """The model of a text such as `Qwen3_30B_a3B (tokendrop)`, or what stands in for it."""
    try:
        return nearest_model(text)
    except UnknownNameError:
        return _NONE


@lru_cache(maxsize=1024)
def _system(text: str) -> str:
    """The device of a text such as `DGX-GB200`, in capitals; the text where it is none."""
    try:
        return text if standing_in(text) else named(text).name.upper()
    except UnknownNameError:
        return text


def _degree(rows: Rows, name: str) -> NDArray[np.float64]:
    texts = rows.text(name).tolist() if name in rows.columns else [""] * len(rows)
    return np.array([max(float(each), 1.0) if _NUMBER.fullmatch(each) else 1.0 for each in texts])


def _precision(text: str, variant: str) -> str:
    """Of what a row says: `inside parentheses` are microscaling results beside those of whole tensors."""
    said = text.upper()
    if "BF16" in said:
        return "bf16"
    if "FP4" in said:
        return "nvfp4"
    return "mxfp8" if "MX" in said or variant.startswith("inside") else "fp8"


def _release(text: str) -> float:
    """Years, of a text such as `26.04.01 NeMo Container`."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return float(found[1]) + float(found[2]) / 12.0 if found else np.nan


READING = Reading(_read, {"dense": _DENSE, "experts": _EXPERTS})


@final
class Nemo(StepTable):
    """Seconds per step; held out by model, whatever its release, system and precision."""

    name: ClassVar[str] = "nemo"
    reading: ClassVar[Reading] = READING
    columns: ClassVar[frozenset[str]] = frozenset(
        {"release", "model", "system", "precision", "cp", "vp", "ep", "fsdp", "subtask", "variant", *_ALL}
    )

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per step (n,), from the throughput."""
        return by_throughput(rows)

    def labels(self, rows: Rows) -> NDArray[np.str_]:
        """Model, devices, release, precision, and what share of the peak they reached."""
        return _labels(rows)


TABLE = Nemo()
