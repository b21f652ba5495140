"""Memory of BigScience's sweeps with Megatron-DeepSpeed on A100 and V100: what the driver showed, and what ran out.

Rows name a size such as 181B; how wide and deep that model was stands in the text around the table (`context`), in the
column `hidden`, or follows from the widths used on that machine. Everything was recomputed, sequences had 2,048 tokens,
and ZeRO stage 1 was on unless `other` says ZS=0. Gradients were kept in 16 bits; from the day with a vocabulary of
250,000 on (28 February) only in 32 (BF16Optimizer).

The memory is the driver's, read at the second step: with the context, the communicators and what the allocator holds
without handing it out. How much that is, is fitted here. Rows that ran out of memory have none: they are labels
(`ran_out`). Some rows contradict each other (196B with PP=6: 65 GB with one sequence at a time, 56 GB with four; 18B on
one node); they are left in. On V100 neither degrees of parallelism nor sizes are complete: not taken as measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pennyweight.core.dims import Dims
from pennyweight.cost.columns import Columns, columns_of
from pennyweight.cost.learn.conformal import Conformal
from pennyweight.errors import BadInputError
from pennyweight.layout.memory import training as memory
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Column = NDArray[np.float64]

_SEQ = 2048
_WIDTHS = (14336, 8192)  # on A100, on V100, where nothing says it
_LAYERS, _HEAD = 64, 64
_NODES = (8, 4)  # devices of a node
_VOCABULARY, _LATER_VOCABULARY = 50304, 250880
_LATER = "02-28"
_GRADIENT_BYTE, _LATER_GRADIENT_BYTE = 2, 4
# What is expected of the coefficients before anything is measured (weights and gradients, optimiser, activations,
# logits, and the bytes that are always there), and how firmly, in rows.
_EXPECTED = np.array([1.0, 1.0, 1.2, 1.0, 5.0])
_FIRM = 0.2
_FIXED_BYTE = 1e9  # the unit of the last coefficient
_SURE = 0.97  # the share of rows that the interval shall hold with which a plan is said to fit
_UNLIKE = 2.0  # how much wider an interval is where nothing was measured completely
_ROUNDED_BYTE = 5e8  # memory is published in whole gigabytes


class BigScience(Table):
    """The table of sweeps."""

    name: ClassVar[str] = "bigscience"
    columns: ClassVar[frozenset[str]] = frozenset({"section", "gpu", "size", "mem", "oom", "other", "context"})
    targets: ClassVar[Mapping[str, str]] = {"memory_byte": "B"}
    splits: ClassVar[tuple[str, ...]] = ("section", "size")

    def measured(self, rows: Rows) -> Mapping[str, Column]:
        """Bytes as measured (n,); NaN where a row has none or is not complete."""
        shown = _found(r"^(\d+)\s*GB$", rows.text("mem")) * 1e9
        return {"memory_byte": np.where(_sxm(rows), shown, np.nan)}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The group (n,) of each row, by a split of `splits`."""
        if split not in self.splits:
            raise BadInputError(f"This table has no groups by {split}.", f"use one of: {', '.join(self.splits)}.")
        return rows.text(split)

    def learn(self, rows: Rows) -> Learnt:
        """Fit on these rows alone."""
        found = self.measured(rows)["memory_byte"]
        known = np.isfinite(found)
        parts, shown, sections = _parts(rows)[known], found[known], rows.text("section")[known]
        off = np.empty(len(shown))
        for section in np.unique(sections):
            left = sections == section
            off[left] = np.log(shown[left] / (parts[left] @ _coefficients(parts[~left], shown[~left])))
        return LearntBigScience(
            _coefficients(parts, shown), Conformal.of(_beyond(off, shown), sections), Conformal.of(off, coverage=_SURE)
        )

    def restore(self, body: Mapping[str, Any]) -> Learnt:
        """What `to_dict` wrote."""
        both = (Conformal.from_dict(body[name]) for name in ("conformal", "sure"))
        return LearntBigScience(np.array(body["coefficients"]), *both)


@dataclass(frozen=True)
class LearntBigScience(Learnt):
    """How much more of each part the driver shows than is counted (5,), and how far that was off elsewhere.

    `sure` is the wider interval with which a plan is said to fit.
    """

    coefficients: Column
    conformal: Conformal
    sure: Conformal

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """A forecast of every target for every row."""
        value = _parts(rows) @ self.coefficients
        low, high = self.conformal.interval(value, np.where(_sxm(rows), 1.0, _UNLIKE))
        unlike = np.where(_sxm(rows), "", "no V100 was measured completely; the nearest are A100 with 80 GB")
        return {"memory_byte": Forecast(value, low - _ROUNDED_BYTE, high + _ROUNDED_BYTE, unlike)}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        rounded = [float(f"{value:.6g}") for value in self.coefficients]
        return {"coefficients": rounded, "conformal": self.conformal.to_dict(), "sure": self.sure.to_dict()}

    def fits(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows (n,) surely fit their device."""
        scale = np.where(_sxm(rows), 1.0, _UNLIKE)
        return np.asarray(self.sure.interval(_parts(rows) @ self.coefficients, scale)[1] <= capacity(rows))


def _beyond(off: Column, shown: Column) -> Column:
    """How far off (n,), in logarithms, predictions are of anything that is published as the bytes shown (n,).

    What rounding may hide is no error: an interval has half a gigabyte at both ends for it.
    """
    above, below = np.log1p(_ROUNDED_BYTE / shown), np.log1p(-_ROUNDED_BYTE / shown)
    return np.asarray(np.maximum(np.maximum(off + below, -off - above), 0.0))


def ran_out(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) ran out of memory, or came too close to it to be used."""
    return rows.true("oom")


def capacity(rows: Rows) -> Column:
    """Bytes (n,) of memory of each row's device, as its name or a note says."""
    noted = _found(r"(\d+)\s*GB", rows.text("notes"))
    return np.where(np.isnan(noted), _found(r"-(\d+)GB", rows.text("gpu")), noted) * 1e9


def _coefficients(parts: Column, shown: Column) -> Column:
    """Least squares of relative errors, drawn to what is expected; nothing is less than zero."""
    from scipy.optimize import nnls

    scale = np.median(parts / shown[:, None], axis=0)
    firm = np.diag(_FIRM * np.sqrt(len(shown)) * np.maximum(scale, _FIRM * scale.max()))
    matrix = np.vstack([parts / shown[:, None], firm])
    return np.asarray(nnls(matrix, np.concatenate([np.ones(len(shown)), firm @ _EXPECTED]))[0])


def _parts(rows: Rows) -> Column:
    """Bytes (n, 5) on a device of the fullest stage, by what is fitted apart."""
    parts = memory.training(_dims(rows), _setting(rows))
    fixed = np.full(len(rows), _FIXED_BYTE)
    columns = (parts.weights + parts.gradients, parts.optimizer, parts.activations, parts.logits + parts.buffers, fixed)
    return np.stack([np.broadcast_to(each, len(rows)) for each in columns], axis=1)


def _dims(rows: Rows) -> Columns:
    context, sizes, said = rows.text("context"), _found(r"^([\d.]+)\s*B", rows.text("size")), rows.number("hidden")
    sizes = np.where(np.isnan(sizes), _found(r"SIZE=([\d.]+)\s*B", context), sizes) * 1e9
    said = np.where(np.isnan(said), _found(r"HIDDEN=(\d+)", context), said)
    widths = np.where(np.isnan(said), np.where(_sxm(rows), *_WIDTHS), said)
    layers = np.where(np.isnan(sizes), _LAYERS, np.maximum(np.round(sizes / (12 * widths**2)), 1))
    tables = np.where(_later(rows), _LATER_VOCABULARY, _VOCABULARY)
    return columns_of(
        [
            Dims(str(name), int(deep), int(wide), _HEAD, 4 * int(wide), int(table), tied=True, gated=False, bias=True)
            for name, deep, wide, table in zip(rows.text("size"), layers, widths, tables, strict=True)
        ]
    )


def _setting(rows: Rows) -> memory.Setting:
    sxm, other = _sxm(rows), rows.text("other")
    tp, pp, micro_batch = rows.number("tp"), rows.number("pp", 1), rows.number("micro_batch", 1)
    tp = np.where(np.isnan(tp), np.where(sxm, *_NODES), tp)
    nodes = np.where(np.isnan(rows.number("nodes")), _found(r"NNODES=(\d+)", other), rows.number("nodes"))
    counted = np.where(np.isnan(nodes), 1, nodes) * np.where(sxm, *_NODES)
    devices = np.where(np.isnan(rows.number("n_gpus")), counted, rows.number("n_gpus"))
    dp = rows.number("dp")
    return memory.Setting(
        seq=_SEQ,
        micro_batch=micro_batch,
        tp=tp,
        pp=pp,
        dp=np.where(np.isnan(dp), np.maximum(devices / (tp * pp), 1), dp),
        zero=1 - (np.char.find(other, "ZS=0") >= 0),
        scores=1,
        dropout=1,
        full=1,
        gradient_byte=np.where(_later(rows), _LATER_GRADIENT_BYTE, _GRADIENT_BYTE),
    )


def _later(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) are of the time of the large vocabulary: on A100, by the month and day noted."""
    notes = rows.text("notes")
    return np.asarray(_sxm(rows) & (np.char.find(notes, "-") == 2) & (notes >= _LATER))


def _sxm(rows: Rows) -> NDArray[np.bool_]:
    return np.char.find(rows.text("gpu"), "A100") >= 0


def _found(pattern: str, texts: NDArray[np.str_]) -> Column:
    """The number (n,) a pattern captures in each text; NaN where it does not match."""
    matches = [re.search(pattern, str(text)) for text in texts]
    return np.array([float(match[1]) if match else np.nan for match in matches])


TABLE = BigScience()
