"""How a power limit changes time and watts: told from runs that are alike, and never beyond what a limit can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.process import Part, Process
from pennyweight.layout.energy.abroad import Abroad

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns

    Numbers = NDArray[np.float64]
    Texts = NDArray[np.str_]

TIME: Final = "time_s"
POWER: Final = "power_w"
# Chosen by the error on networks and on devices left out: devices are alike in time, but not so in watts.
_NEAR = {"tight": 0.4, "load": 0.7}
_CUT = {"cut": 0.5, "cap": 0.5}
_FULL = {"spare": 1.0, "top": 1.0}
Parts = dict[str, tuple[Part, ...]]
ALONE: Final[Parts] = {
    TIME: (Part(0.1), Part(0.6, (), _CUT), Part(0.2, ("device",), _CUT)),
    POWER: (Part(0.1), Part(0.2, (), _NEAR), Part(0.3, ("device",), _NEAR)),
}
BESIDE: Final[Parts] = {
    TIME: (*ALONE[TIME], Part(0.3, (), {**_CUT, **_FULL})),
    POWER: (*ALONE[POWER], Part(0.2, (), {**_NEAR, **_FULL})),
}
_NOISE = 0.1


@dataclass(frozen=True, slots=True)
class Alike:
    """A process of each target: how much longer and how many watts less, in logarithms; and the intervals.

    Columns (n,) are those of the `Parts` it is of, and `capped`: the logarithm of watts over those of the reference,
    were a limit a ceiling that is softly felt. No limit makes a run faster than its reference, or draw more.
    """

    processes: Mapping[str, Process]
    intervals: Mapping[str, Conformal]
    abroad: Abroad

    @classmethod
    def fit(cls, parts: Parts, columns: Columns, logs: Mapping[str, Numbers], networks: Texts) -> Self:
        """From logarithms (n,) of time and watts over those of the reference; intervals from `networks` left out."""
        start = _start(columns)
        processes = {name: Process(parts[name], _NOISE, columns, each - start[name]) for name, each in logs.items()}
        told = {name: each.left_out(networks) for name, each in processes.items()}
        intervals = {
            name: Conformal.of(logs[name] - _possible(name, start[name] + mean), networks, sd)
            for name, (mean, sd) in told.items()
        }
        return cls(processes, intervals, _abroad(processes, intervals, logs))

    def at(self, name: str, columns: Columns) -> tuple[Numbers, Numbers]:
        """Of a target, the logarithm (n,) of its share of the reference, and the standard deviation."""
        mean, sd = self.processes[name].at(columns)
        return _possible(name, _start(columns)[name] + mean), sd

    def ends(self, name: str, value: Numbers, sd: Numbers, device: Texts) -> tuple[Numbers, Numbers]:
        """The 90% interval (n,) around values."""
        return self.intervals[name].interval(value, sd * self.abroad.factor(name, device))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy, without the columns."""
        return {
            "weights": {name: each.to_dict()["weights"] for name, each in self.processes.items()},
            "abroad": self.abroad.to_dict(),
            "intervals": {name: each.to_dict() for name, each in self.intervals.items()},
        }

    @classmethod
    def restore(cls, parts: Parts, columns: Any, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote, with the columns as they were written."""
        bodies = {name: {"columns": columns, "weights": body["weights"][name]} for name in parts}
        processes = {name: Process.restore(parts[name], _NOISE, each) for name, each in bodies.items()}
        intervals = {name: Conformal.from_dict(body["intervals"][name]) for name in parts}
        return cls(processes, intervals, Abroad.from_dict(body["abroad"]))


def compared(work: NDArray[Any], batch: NDArray[Any], seconds: Numbers, watts: Numbers) -> tuple[Numbers, Numbers]:
    """The least seconds and the most watts (n,) of all runs of the same `work`; NaN where all have one batch size."""
    least, most = np.full(len(work), np.nan), np.full(len(work), np.nan)
    for each in np.unique(work):
        at = np.flatnonzero(work == each)
        if len(np.unique(batch[at])) > 1:
            least[at], most[at] = seconds[at].min(), watts[at].max()
    return least, most


def _start(columns: Columns) -> dict[str, Numbers]:
    """What is told (n,) before anything is learned."""
    return {TIME: np.zeros(len(columns["capped"])), POWER: columns["capped"]}


def _possible(name: str, share: Numbers) -> Numbers:
    """Logarithms (n,) of shares of the reference that a limit can bring about."""
    return np.maximum(share, 0.0) if name == TIME else np.minimum(share, 0.0)


def _abroad(
    processes: Mapping[str, Process], intervals: Mapping[str, Conformal], logs: Mapping[str, Numbers]
) -> Abroad:
    """How much wider intervals are on a device never measured: from leaving each of them out, where there are two."""
    columns = processes[TIME].columns
    device, start = columns["device"], _start(columns)
    if len(np.unique(device)) < 2:
        return Abroad(tuple(np.unique(device).tolist()), dict.fromkeys(processes, 1.0))
    errors = {}
    for name, process in processes.items():
        mean, sd = process.left_out(device)
        errors[name] = logs[name] - _possible(name, start[name] + mean), sd
    return Abroad.of(device, errors, intervals)
