"""What a generated token takes on this machine: contenders are timed in turn, seconds of a core and joules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.core import Basis, Cost, ServeSpec
from pennyweight.cost.pace import pace, yardsticks
from pennyweight.cost.price import price
from pennyweight.cost.race import race
from pennyweight.optimizing.checkpoints.asking import CPU
from pennyweight.optimizing.checkpoints.pricing import MILLION, Price
from pennyweight.runtimes.hf import describe
from pennyweight.runtimes.hf.opening import open_hf, runtime_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.catalog import Device, PriceSheet
    from pennyweight.cost.race import Timing
    from pennyweight.optimizing.checkpoints.asking import Load
    from pennyweight.runtimes.chorus import Chorus

TORCH, OPENVINO = "torch", "openvino"
_ROUNDS, _BUDGET_S, _WIDTH = 15, 60.0, 0.02
_SURE_ROUNDS, _UNSURE = 6, 0.2  # fewer rounds cannot bound a median with 95%
_SHARE = 0.6  # of the memory that is free
_FLOAT = 4


@final
@dataclass(frozen=True, slots=True)
class Contender:
    """The checkpoint of that name in `folder`, served by a runtime in float32 on one thread."""

    name: str
    folder: Path
    runtime: str

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.name} by {self.runtime}"

    @property
    def byte(self) -> float:
        """Bytes of the weights as they are held: torch widens them all, OpenVINO leaves them as they lie."""
        said = describe(self.folder)
        return float(_FLOAT * said.parameters if self.runtime == TORCH else said.byte)

    def open(self) -> Chorus:
        """What continues texts with it."""
        return open_hf(self.folder, ServeSpec(self.runtime))[0]


def runtimes(folder: Path) -> tuple[str, ...]:
    """What serves a checkpoint on this machine: torch always, OpenVINO where it can."""
    return (TORCH, OPENVINO) if runtime_for(folder) == OPENVINO else (TORCH,)


@final
@dataclass(frozen=True)
class Scales:
    """Weighs contenders under a `load` whose prompts are parts of `tokens` (N,), at the prices of a `sheet`."""

    load: Load
    tokens: NDArray[np.int64]
    device: Device
    sheet: PriceSheet

    def weigh(self, contenders: Sequence[Contender]) -> dict[str, Price]:
        """The price of each; all are held at once if they fit, and then no slow moment hits one of them alone."""
        together = sum(each.byte for each in contenders) < _SHARE * _free()
        groups = [contenders] if together else [[each] for each in contenders]
        return {key: price for group in groups for key, price in self._timed(group).items()}

    def _timed(self, contenders: Sequence[Contender]) -> dict[str, Price]:
        calls: dict[str, Callable[[], object]] = {each.key: self._call(each.open()) for each in contenders}
        timed = race(
            calls | (yardsticks() if self.device.pace_s else {}), rounds=_ROUNDS, budget_s=_BUDGET_S, width=_WIDTH
        )
        return {each.key: self._price(each, timed) for each in contenders}

    def _price(self, contender: Contender, timed: Mapping[str, Timing]) -> Price:
        ours = timed[contender.key]
        share = 1 / (self.load.at_once * self.load.answer * pace(timed, self.device.pace_s))
        unit = Cost(ours.cpu_s * share, ours.wall_s * share, self.device.busy_w * ours.cpu_s * share)
        usd = price(unit, contender.byte, self.sheet).usd * MILLION
        error = ours.width if ours.rounds >= _SURE_ROUNDS else max(_UNSURE, ours.width)
        low, high = usd * max(0.0, 1 - error), usd * (1 + error)
        more = (unit.device_s, unit.joule, contender.byte, self.load.at_once)
        return Price(CPU, contender.runtime, Basis.MEASURED, usd, low, high, *more)

    def _call(self, chorus: Chorus) -> Callable[[], object]:
        """One call: prompts are read and answered, the likeliest token each time, whether the text is over or not."""
        load = self.load
        prompts = list(np.resize(self.tokens, (load.at_once, load.prompt)))

        def answer() -> None:
            said, memory = chorus.prefill(prompts)
            for _ in range(load.answer - 1):
                said, memory = chorus.step(said.argmax(-1), memory)

        return answer


def _free() -> float:
    import psutil

    return float(psutil.virtual_memory().available)
