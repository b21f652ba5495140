"""Training steps of one's own, in the words of `core.layout.Layout`: timed like published runs of Megatron and NeMo.

A row says a model (of the catalog, or a folder with a config.json), the accelerator, how many `devices`, the sequences
of a micro-batch and of a step, the tokens of a sequence, and the measured seconds `step_s`. What else it may say: tp,
pp, cp, ep (one if empty), dp (what is left of the devices), chunks, precision (bf16), recompute (none), zero (1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, cast, final

import numpy as np

from pennyweight.catalog.accelerators import accelerator
from pennyweight.core.layout import Layout
from pennyweight.cost.hf_config import dims_of
from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.layout.correction import Correction, apply, learn
from pennyweight.layout.tables import nemo
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.steps import STEP, Asked, Reading, Steps, names
from pennyweight.layout.tables.table import Forecast, Learnt, Table
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.rates import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.rows import Rows
    from pennyweight.layout.timing.rates import Machine

_NEEDED = ("devices", "micro_batch", "global_batch", "sequence")
_DEGREES = ("tp", "pp", "cp", "ep", "chunks")
_TODAY = {"before 2025": "no", "from 26.06": "yes", "subtask": ""}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row that could be read."""

    dims: Dims
    machine: Machine
    layout: Layout
    system: str


@dataclass(frozen=True, slots=True)
class OwnSteps(Learnt):
    """Steps as published runs taught, moved by a correction if rows taught one."""

    correction: Correction | None

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Seconds of each step (n,); NaN where a row cannot be read, which is then said in `outside`."""
        told = _published().predict(rows)[STEP]
        return {STEP: apply(told, self.correction) if self.correction else told}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {"correction": self.correction.to_dict() if self.correction else None}


@final
class OwnStepsTable(Table):
    """One row per measured step."""

    name: ClassVar[str] = "own_steps"
    columns: ClassVar[frozenset[str]] = frozenset({"model", "accelerator", "step_s", *_NEEDED})
    targets: ClassVar[Mapping[str, str]] = {STEP: "s"}
    splits: ClassVar[tuple[str, ...]] = ("model", "accelerator")

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Seconds per step (n,)."""
        return {STEP: rows.number("step_s")}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The model, or the accelerator."""
        return rows.text(split)

    def learn(self, rows: Rows) -> Learnt:
        """Learn a correction of what published runs taught."""
        return OwnSteps(learn(rows.number("step_s"), _published().predict(rows)[STEP])[0])

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What was kept of a correction."""
        kept = body.get("correction")
        return OwnSteps(Correction.from_dict(kept) if kept else None)

    def untaught(self) -> Learnt:
        """As published runs taught."""
        return OwnSteps(None)


TABLE = OwnStepsTable()


def _published() -> Steps:
    return replace(cast("Steps", shipped(nemo.TABLE.name)), reading=Reading(_read, nemo.READING.recipes))


def _read(rows: Rows) -> Asked:
    fields = _fields(rows)
    found = [_read_row(row) for row in fields]
    read = [each if isinstance(each, _Row) else _stand_in() for each in found]
    good = np.array([isinstance(each, _Row) for each in found])
    problem = np.array(["" if isinstance(each, _Row) else each for each in found], dtype=np.str_)
    numbers = {name: np.where(good, rows.number(name), 1.0) for name in ("global_batch", "sequence")}
    dims, layouts = [each.dims for each in read], Layouts.of([each.layout for each in read])
    models = replace(Models.of(dims), layers=_fullest(dims, layouts))
    machines = Machines.of([each.machine for each in read])
    cases = Cases(models, layouts, machines, numbers["sequence"], numbers["global_batch"])
    kind = np.array(["experts" if each.experts else "dense" for each in dims])
    label = names(*(np.array(each) for each in zip(*((row.dims.name, row.system) for row in read), strict=True)))
    return Asked(cases, _traits(read), kind, label, problem, np.full(len(rows), "", dtype=np.str_))


def _fields(rows: Rows) -> list[dict[str, str]]:
    """What each row says that is not empty."""
    known = ("model", "accelerator", "precision", "recompute", "zero", "dp", *_NEEDED, *_DEGREES)
    texts = {name: rows.text(name).tolist() for name in known if name in rows.columns}
    return [{name: column[at] for name, column in texts.items() if column[at]} for at in range(len(rows))]


def _read_row(row: dict[str, str]) -> _Row | str:
    """The row, or what is wrong with it."""
    lacks = [name for name in ("model", "accelerator", *_NEEDED) if name not in row]
    if lacks:
        return f"the row does not say its {lacks[0]}"
    try:
        device, layout = accelerator(row["accelerator"]), _layout(row)
        return _Row(_dims(row["model"]), machine(device, layout.precision), layout, device.name.upper())
    except PennyweightError as error:
        return f"{error.problem} {error.fix[:1].upper()}{error.fix[1:]}"


def _layout(row: dict[str, str]) -> Layout:
    """The layout of a row; raises `BadInputError` where it is none, or is one of another number of devices."""
    numbers = {name: _whole(row, name) for name in (*_NEEDED, *_DEGREES, "dp", "zero") if name in row}
    tp, pp, cp, ep, chunks = (max(numbers.get(name, 1), 1) for name in _DEGREES)
    replicas = numbers.get("dp") or max(numbers["devices"] // (tp * pp * cp), 1)
    if replicas * tp * pp * cp != numbers["devices"]:
        raise BadInputError(
            f"{numbers['devices']} devices are not tp · pp · cp · dp = {replicas * tp * pp * cp}.",
            "correct one of them.",
        )
    return Layout(
        tp=tp,
        pp=pp,
        dp=replicas,
        cp=cp,
        ep=ep,
        chunks=chunks,
        zero=numbers.get("zero", 1),
        micro_batch=numbers["micro_batch"],
        sequence_parallel=tp > 1,
        recompute=row.get("recompute", "none"),
        precision=row.get("precision", "bf16"),
    )


def _whole(row: dict[str, str], name: str) -> int:
    try:
        value = float(row[name])
    except ValueError as error:
        raise BadInputError(f"{row[name]!r} in column {name} is no number.", "correct it.") from error
    if not (value >= 0 and value == int(value)):
        raise BadInputError(f"A row has {name} = {row[name]}.", "give a whole number.")
    return int(value)


def _traits(read: list[_Row]) -> dict[str, NDArray[Any]]:
    """What rows of published runs are alike in, of runs that are begun today."""
    same = {name: np.full(len(read), value) for name, value in _TODAY.items()}
    usual = [not (each.dims.linear_layers or each.dims.window_layers or each.dims.index_layers) for each in read]
    return same | {
        "model": np.array([each.dims.name for each in read]),
        "grace": np.where([each.system.startswith("GB") for each in read], "yes", "no"),
        "usual": np.where(usual, "yes", "no"),
        "precision": np.array([each.layout.precision for each in read]),
        "system": np.array([each.system for each in read]),
        "micro": np.log2([each.layout.micro_batch for each in read]),
    }


def _fullest(dims: list[Dims], layouts: Layouts) -> NDArray[np.float64]:
    """Layers (n,) if every stage were as full as the fullest one: a pipeline waits for that."""
    apart = layouts.pp * layouts.chunks
    found: NDArray[np.float64] = np.ceil(np.array([each.layers for each in dims]) / apart) * apart
    return found


@lru_cache(maxsize=1024)
def _dims(text: str) -> Dims:
    return dims_of(text)


@lru_cache(maxsize=1)
def _stand_in() -> _Row:
    return _Row(dims_of("llama-3-8b"), machine(accelerator("h100")), Layout(), "H100")
