"""Peak memory in Megatron-LM's functional tests: counted from arguments, corrected by what cases alike show.

A row is one file of golden values: a case, an environment and a platform, as logged by the last rank of the run. Two
quantities are forecast: the most bytes ever handed out by PyTorch's allocator, and the most left between steps. What is
counted (`layout.memory`) takes every argument literally; the rest (transients, what tests of one name switch on) is a
Gaussian process over logarithms of measured / counted.

Not every row is complete. Cases of reinforcement learning reserve a buffer for generation whose size no column has,
multimodal cases have a vision tower that no column describes, and some rows have no arguments at all: these are
forecast, but not taken as measured. The order of recurrences in hybrid models is missing too; usual shares are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.process import Part, Process
from pennyweight.errors import BadInputError
from pennyweight.layout.memory import training as memory
from pennyweight.layout.tables import golden_arguments as arguments
from pennyweight.layout.tables import golden_settings as settings
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.columns import Columns
    from pennyweight.layout.rows import Rows

_TARGETS = {"peak_byte": "mem_max_allocated_bytes", "held_byte": "mem_allocated_bytes_max"}
# Extra bytes per logit, beside two in half precision and four of the loss: what two ways of making them also keep.
_MORE_LOGITS = {"cross_entropy_loss_fusion": 4 / 6, "defer_embedding_wgrad": 4 / 6}
_INCOMPLETE = ("multimodal-llava", "mimo")
_NOISE = 0.02
_FAR, _NEAR = 3.0, 1.0  # how far likeness reaches
_FAR_SD, _NEAR_SD = 0.03, 0.2
# The share of a new case's rows that an interval shall hold, a case counting as much as it says. Cases with many files
# are the ordinary ones, so that it holds some 91% of all rows.
_COVERAGE = 0.84
_UNLIKE = 0.9  # of the prior's standard deviation left: no measured case tells anything about this one
_FAMILIES = ("gpt", "moe", "bert", "t5", "hybrid", "mixtral", "nemotron")


class Golden(Table):
    """The table of golden values."""

    name: ClassVar[str] = "megatron_ci_golden"
    columns: ClassVar[frozenset[str]] = frozenset({"case", "golden", "mem_max_allocated_bytes", "hidden_size"})
    targets: ClassVar[Mapping[str, str]] = {"peak_byte": "B", "held_byte": "B"}
    splits: ClassVar[tuple[str, ...]] = ("case", "family")

    def measured(self, rows: Rows) -> Mapping[str, NDArray[np.float64]]:
        """Bytes as measured (n,); NaN where a row has none or is not complete."""
        complete = _complete(rows)
        return {target: np.where(complete, rows.number(column), np.nan) for target, column in _TARGETS.items()}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The group (n,) of each row, by a split of `splits`."""
        if split not in self.splits:
            raise BadInputError(f"This table has no groups by {split}.", f"use one of: {', '.join(self.splits)}.")
        return rows.text("case") if split == "case" else arguments.family_of(rows)

    def learn(self, rows: Rows) -> Learnt:
        """Fit on these rows alone."""
        known = rows.take(np.isfinite(np.array(list(self.measured(rows).values()))).all(axis=0))
        read = _read(known)
        counted, columns, cases = read.counted, _columns(known, read), known.text("case")
        processes, conformals = {}, {}
        for target, found in self.measured(known).items():
            processes[target] = Process(_parts(columns), _NOISE, columns, np.log(found / counted[target]))
            mean, sd = processes[target].left_out(cases)
            conformals[target] = Conformal.of(processes[target].values - mean, cases, np.sqrt(sd), coverage=_COVERAGE)
        return LearntGolden(processes, conformals, tuple(map(str, cases)))

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What `to_dict` wrote."""
        columns = {name: np.array(column, dtype=np.float64) for name, column in body["columns"].items()}
        said = "weights" if "weights" in body else "values"  # as was written before
        processes = {
            target: Process.restore(_parts(columns), _NOISE, {"columns": body["columns"], said: each})
            for target, each in body[said].items()
        }
        conformals = {target: Conformal.from_dict(each) for target, each in body["conformals"].items()}
        return LearntGolden(processes, conformals, tuple(body["cases"]))


@dataclass(frozen=True)
class LearntGolden(Learnt):
    """What is added to the count, by target, and how far it was off on cases not seen."""

    processes: Mapping[str, Process]
    conformals: Mapping[str, Conformal]
    cases: tuple[str, ...]

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target for every row."""
        read = _read(rows)
        columns = _columns(rows, read)
        return {target: self._forecast(target, read, columns) for target in _TARGETS}

    def _forecast(self, target: str, read: _Read, columns: dict[str, NDArray[np.float64]]) -> Forecast:
        process, conformal = self.processes[target], self.conformals[target]
        mean, sd = process.at(columns)
        counted = np.where(np.char.str_len(read.problem) > 0, np.nan, read.counted[target])
        value = counted * np.exp(mean)
        low, high = conformal.interval(value, np.sqrt(sd))
        nearest, prior = process.nearest(columns), np.hypot(_FAR_SD, _NEAR_SD)
        outside = [
            problem or (f"unlike every measured case; the nearest is {self.cases[at]}" if far else "")
            for at, far, problem in zip(
                nearest.tolist(), (sd > _UNLIKE * prior).tolist(), read.problem.tolist(), strict=True
            )
        ]
        return Forecast(value, low, high, np.array(outside, dtype=np.str_))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        bodies = {target: process.to_dict() for target, process in self.processes.items()}
        return {
            "columns": next(iter(bodies.values()))["columns"],
            "weights": {target: body["weights"] for target, body in bodies.items()},
            "conformals": {target: each.to_dict() for target, each in self.conformals.items()},
            "cases": list(self.cases),
        }


def _complete(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) have arguments for all that fills memory."""
    towered = np.isin(arguments.family_of(rows), _INCOMPLETE)
    complete: NDArray[np.bool_] = ~towered & ~arguments.said(rows, "grpo") & arguments.given(rows, "hidden_size")
    return complete


@dataclass(frozen=True)
class _Read:
    """Rows (n) as dimensions and settings, what that fills memory with, and why (n,) a row is of no model."""

    dims: Columns
    setting: memory.Setting
    parts: memory.Parts
    problem: NDArray[np.str_]

    @property
    def counted(self) -> dict[str, NDArray[np.float64]]:
        """Bytes (n,) by target, by arithmetic alone."""
        held = self.parts.state + self.parts.workspace
        return {"peak_byte": held + self.parts.activations + self.parts.logits + self.parts.buffers, "held_byte": held}


def _read(rows: Rows) -> _Read:
    dims, problem = arguments.dims_of(rows)
    setting = settings.setting_of(rows)
    parts = memory.stage(dims, setting, last=True)
    more = sum(share * arguments.said(rows, word) for word, share in _MORE_LOGITS.items())
    whole = replace(parts, logits=parts.logits * (1 + more), workspace=settings.workspace_of(rows))
    return _Read(dims, setting, whole, problem)


def _parts(columns: Mapping[str, NDArray[np.float64]]) -> tuple[Part, ...]:
    return (
        Part(_FAR_SD, near=dict.fromkeys(columns, _FAR)),
        Part(_NEAR_SD, near=dict.fromkeys(columns, _NEAR)),
    )


def _columns(rows: Rows, read: _Read) -> dict[str, NDArray[np.float64]]:
    """In what rows can be alike: numbers in units of how far they make a difference."""
    d, s, parts = read.dims, read.setting, read.parts
    sizes = {name: np.log2(np.maximum(getattr(d, name), 1)) for name in ("hidden", "layers", "experts")}
    sizes |= {
        name: np.log2(getattr(s, name)) for name in ("tp", "pp", "cp", "ep", "etp", "chunks", "dp", "micro_batch")
    }
    sizes["experts_per_token"] = d.experts_per_token
    shares = {name: 4 * getattr(parts, name) / parts.total for name in ("state", "activations", "logits")}
    sizes["total"] = np.log2(parts.total)
    families = arguments.family_of(rows)
    flags = {f"is_{name}": families == name for name in _FAMILIES} | _flags(rows, s)
    scaled = {name: 0.5 * np.asarray(values, dtype=np.float64) for name, values in sizes.items()}
    return scaled | shares | {name: 1.0 * np.asarray(values, dtype=np.float64) for name, values in flags.items()}


def _flags(rows: Rows, s: memory.Setting) -> dict[str, Any]:
    """What is switched on (n,), and what is said of where it ran."""
    golden = rows.text("golden")
    said = {f"said_{word}": 2.0 * arguments.said(rows, word) for word in arguments.WORDS}
    true = {name: rows.true(name) for name in ("fp16", "deterministic_mode", "multi_latent_attention", "swiglu")}
    true |= {name: rows.true(name) for name in ("overlap_grad_reduce", "use_megatron_fsdp")}
    texts = {name: arguments.given(rows, name) for name in ("fp8_format", "recompute_modules", "mtp_num_layers")}
    return {
        "zero": s.zero,
        "scores": s.scores,
        "full": s.full,
        "sequence_parallel": s.sequence_parallel,
        "local": rows.text("transformer_impl") == "local",
        "muon": rows.text("optimizer") == "muon",
        "hopper": 0.5 * settings.hopper_of(rows),
        "gb200": 0.5 * (rows.text("platform") == "dgx_gb200"),
        "lts": 0.5 * (rows.text("env") == "lts"),
        "second": 0.5 * (np.char.find(golden, "2nd") >= 0),
        "older": 0.5 * (np.char.find(golden, "dracooci") >= 0),
        **true,
        **texts,
        **said,
    }


TABLE = Golden()
