"""Which fitted software stack times a step on which devices, and how far measured steps were from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.steps import STEP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.correction import Correction
    from pennyweight.layout.plans.spreading import Choices
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.scoring.calibrating import Calibration
    from pennyweight.layout.tables.steps import Steps
    from pennyweight.layout.timing.cases import Cases
    from pennyweight.layout.timing.fitted import Fitted
    from pennyweight.layout.timing.stack import Stack

    Floats = NDArray[np.float64]

STACKS = ("megatron", "fsdp")
# What rows of those tables say of a run as it would be begun today; what is not named here is as in most rows.
_TODAY = {"before 2025": "no", "from 26.06": "yes", "subtask": "", "checkpointed": "False", "micro": 0.0}
_TABLES = {"megatron": "nemo", "fsdp": "mpt"}
_OWN = {"megatron": ("own_steps", "nemo"), "fsdp": ("mpt",)}  # kinds of one's own rows that speak of a stack
_FSDP = {"tp": (1,), "pp": (1,), "cp": (1,), "chunks": (1,), "zero": (0, 2, 3)}


@dataclass(frozen=True, slots=True)
class Pace:
    """A stack, what measured steps on such devices took as multiples of it, and the ends of their 90% interval.

    `own` is what measured steps of one's own on such devices say of all that, where there are any.
    """

    stack: Stack
    factor: float
    low: float
    high: float
    said: str
    own: Correction | None = None

    def seconds(self, physics_s: Floats) -> Floats:
        """What steps take (any shape) that take `physics_s` with the stack alone."""
        found: Floats = physics_s * self.factor
        if self.own is None:
            return found
        if not self.own.slope:
            return found * self.own.factor
        with np.errstate(all="ignore"):  # of layouts that are not legal
            return np.asarray(found * np.exp(self.own.moves(found)))

    @property
    def least(self) -> float:
        """No step takes less than this many times what it takes with the stack alone."""
        if self.own is None:
            return self.factor
        return self.factor * math.exp(self.own.offset - abs(self.own.slope) * self.own.reach)

    def interval(self, step_s: float) -> tuple[float, float]:
        """The ends of the interval around a step that takes `step_s` at this pace."""
        if self.own is None:
            return step_s * self.low / self.factor, step_s * self.high / self.factor
        hard = math.log(self.high / self.low) / 2 / self.own.usual
        half = math.exp(float(self.own.width(np.array([hard]))[0]))
        return step_s / half, step_s * half


def pace(stack: str, work: TrainWork, accelerator: str, calibration: Calibration | None = None) -> Pace:
    """The pace of `work` with a training stack on one accelerator, as learned from published runs.

    "megatron" is Megatron-LM and NeMo as NVIDIA ran them, "fsdp" PyTorch's sharding as MosaicML did. A `calibration`
    moves it where it holds measured steps of that stack on that accelerator. Raises `UnknownNameError`.
    """
    if stack not in STACKS:
        raise UnknownNameError.of("training stack", stack, STACKS)
    shared = _pace(stack, work.precision, accelerator, experts=work.dims.experts > 0)
    return shared if calibration is None else _moved(shared, stack, accelerator, calibration)


def _moved(shared: Pace, stack: str, accelerator: str, calibration: Calibration) -> Pace:
    """The pace moved by steps of one's own, or saying that none of them are of this stack on this accelerator."""
    taught = [calibration.kinds[kind] for kind in _OWN[stack] if kind in calibration.kinds]
    for each in taught:
        own = each.corrections.get(STEP)
        if own is not None and accelerator in each.accelerators:
            rows = "1 measured step" if own.rows == 1 else f"{own.rows} measured steps"
            said = f"{shared.said}; {rows} of your own ({each.source}) say × {own.factor:.3g}"
            return replace(shared, own=own, said=said)
    return replace(
        shared, said=f"{shared.said}; your calibration has no steps of {stack} on {accelerator} and moves nothing"
    )


@dataclass(frozen=True, slots=True)
class Near:
    """The measured run nearest to one that is planned, and how far that is: beyond 1 is outside what was measured."""

    run: str
    reach: float

    @property
    def outside(self) -> bool:
        """Whether measured runs are usually nearer to each other than this one is to all of them."""
        return self.reach > 1

    def __str__(self) -> str:
        if self.outside:
            return f"outside what was measured, {self.reach:.1f} times as far as usual; nearest measured: {self.run}"
        return f"nearest measured: {self.run}"


def near(stack: str, cases: Cases) -> Near:
    """The measured run of a stack that is nearest to one case."""
    return Near(*cast("Steps", shipped(_TABLES[stack])).near(cases))


def choices_of(stack: str, choices: Choices) -> Choices:
    """What may be chosen with a stack: FSDP shards over all devices and does nothing else, unless asked for."""
    if stack != "fsdp":
        return choices
    given: dict[str, Any] = {name: only for name, only in _FSDP.items() if not getattr(choices, name)}
    return replace(choices, **given)


@cache
def _pace(stack: str, precision: str, accelerator: str, *, experts: bool) -> Pace:
    table, kind = _TABLES[stack], _mosaic(accelerator) if stack == "fsdp" else "experts" if experts else "dense"
    fitted = cast("Steps", shipped(table)).fitted[kind]
    known = _TODAY | {"precision": precision, "system": accelerator.upper(), "usual": "yes"}
    known |= {"grace": "yes" if accelerator.startswith("gb") else "no"}
    mean, sd = fitted.process.at(_traits(fitted, known))
    factor = np.exp(mean)
    low, high = fitted.conformal.interval(factor, sd)
    said = f"steps are paced like those of {len(fitted.process.values)} published runs ({table}, {kind})"
    return Pace(fitted.stack, float(factor[0]), float(low[0]), float(high[0]), said)


def _mosaic(accelerator: str) -> str:
    """Of the three devices MosaicML measured, the one most like this."""
    if accelerator == "a100-40gb":
        return "a100_40gb"
    return "a100_80gb" if accelerator.startswith(("a", "v", "t", "l4", "p")) else "h100_80gb"


def _traits(fitted: Fitted, known: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
    """One row of what residuals are alike in: what is known, else the most common name or the middle number."""
    return {name: np.array([known.get(name, _usual(column))]) for name, column in fitted.process.columns.items()}


def _usual(column: NDArray[Any]) -> Any:
    if column.dtype.kind == "f":
        return float(np.median(column))
    names, counts = np.unique(column, return_counts=True)
    return str(names[counts.argmax()])
