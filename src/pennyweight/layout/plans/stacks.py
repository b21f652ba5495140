"""Which fitted software stack times a step on which devices, and how far measured steps were from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pennyweight.errors import UnknownNameError
from pennyweight.layout.tables.finding import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.plans.spreading import Choices
    from pennyweight.layout.plans.training import TrainWork
    from pennyweight.layout.tables.steps import Steps
    from pennyweight.layout.timing.fitted import Fitted
    from pennyweight.layout.timing.stack import Stack

STACKS = ("megatron", "fsdp")
# What rows of those tables say of a run as it would be begun today; what is not named here is as in most rows.
_TODAY = {"before 2025": "no", "from 26.06": "yes", "subtask": "", "checkpointed": "False", "micro": 0.0}
_FSDP = {"tp": (1,), "pp": (1,), "cp": (1,), "chunks": (1,), "zero": (0, 2, 3)}


@dataclass(frozen=True, slots=True)
class Pace:
    """A stack, what measured steps on such devices took as multiples of it, and the ends of their 90% interval."""

    stack: Stack
    factor: float
    low: float
    high: float
    said: str

    def interval(self, step_s: float) -> tuple[float, float]:
        """The ends of the interval around a step of which `factor` is part."""
        return step_s * self.low / self.factor, step_s * self.high / self.factor


def pace(stack: str, work: TrainWork, accelerator: str) -> Pace:
    """The pace of `work` with a training stack on one accelerator, as learned from published runs.

    "megatron" is Megatron-LM and NeMo as NVIDIA ran them, "fsdp" PyTorch's sharding as MosaicML did. Raises
    `UnknownNameError`.
    """
    if stack not in STACKS:
        raise UnknownNameError.of("training stack", stack, STACKS)
    return _pace(stack, work.precision, accelerator, experts=work.dims.experts > 0)


def choices_of(stack: str, choices: Choices) -> Choices:
    """What may be chosen with a stack: FSDP shards over all devices and does nothing else, unless asked for."""
    if stack != "fsdp":
        return choices
    given: dict[str, Any] = {name: only for name, only in _FSDP.items() if not getattr(choices, name)}
    return replace(choices, **given)


@cache
def _pace(stack: str, precision: str, accelerator: str, *, experts: bool) -> Pace:
    table, kind = ("mpt", _mosaic(accelerator)) if stack == "fsdp" else ("nemo", "experts" if experts else "dense")
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
