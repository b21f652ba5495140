"""Seconds per epoch and mean watts of training under a power limit, relative to one measured run of the same job.

How long an epoch of a network takes at all cannot be told from this table, so it is not asked: a row is predicted from
the run of the same network, data, batch size and optimiser on the same device with the *highest* limit, whose time and
watts are read. That run itself is therefore never a target. How much slower and how much cheaper other limits are is
learned by likeness: of the limit to the watts drawn without it and to the highest limit, on this device and on all. A
network that never draws as much as the limit is not slowed by it. On a device never measured, intervals are as wide as
devices that were left out showed.

The device is in a column `gpu`, otherwise it is told from the range of limits tried on it. Sources: the traces of Zeus
(You, Chung & Chowdhury, NSDI 2023) for A40, P100, V100 and Quadro RTX 6000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.cost.learn.conformal import Conformal
from pennyweight.cost.learn.process import Part, Process
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.energy.abroad import Abroad
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

TIME, POWER = "time_s", "power_w"
_COLUMNS = {TIME: "time_per_epoch", POWER: "average_power"}
_RANGES = {(100, 300): "a40", (125, 250): "p100", (100, 260): "quadro-rtx-6000", (100, 250): "v100-16gb"}
# Chosen by the error on networks and on devices left out: devices are alike in time, but not so in watts.
_NEAR = {"tight": 0.4, "load": 0.7}
_CUT = {"cut": 0.5, "cap": 0.5}
_PARTS = {
    TIME: (Part(0.1), Part(0.6, (), _CUT), Part(0.2, ("device",), _CUT)),
    POWER: (Part(0.1), Part(0.2, (), _NEAR), Part(0.3, ("device",), _NEAR)),
}
_NOISE = 0.1
_SOFT = 0.06  # of the logarithm: watts vary within an epoch, so a limit is felt before their mean reaches it
_TIGHT = (-2.0, 1.5)
_FAR = 0.2  # standard deviation of the logarithm above which nothing like a row was measured


@dataclass(frozen=True, slots=True)
class Limits(Learnt):
    """How much longer and how many watts less, in logarithms; and the interval of each target."""

    processes: Mapping[str, Process]
    intervals: Mapping[str, Conformal]
    abroad: Abroad
    networks: tuple[str, ...]

    def predict(self, rows: Rows) -> Mapping[str, Forecast]:
        """Time and watts (n,); NaN for a job with no second run to be told from."""
        runs = Runs.of(rows)
        told = self.under(runs)
        alone = np.array([runs.alone()]).reshape(-1)
        for each in told.values():
            each.value[alone] = each.low[alone] = each.high[alone] = np.nan
        why = "the run with the highest limit is what others are predicted from"
        return {name: Forecast(each.value, each.low, each.high, np.where(alone, why, each.outside))
                for name, each in told.items()}  # fmt: skip

    def under(self, runs: Runs) -> Mapping[str, Forecast]:
        """Time and watts (n,) of runs, each told the time and watts of its reference."""
        columns = runs.columns()
        found = {}
        for name, start in ((TIME, runs.reference_s), (POWER, runs.reference_w)):
            mean, sd = self.processes[name].at(columns)
            value = start * np.exp(mean + (runs.capped() if name == POWER else 0.0))
            low, high = self.intervals[name].interval(value, sd * self.abroad.factor(name, runs.device))
            found[name] = Forecast(value, low, high, self._outside(runs, sd))
        return found

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        bodies = {name: each.to_dict() for name, each in self.processes.items()}
        return {
            "columns": bodies[TIME]["columns"],
            "weights": {name: each["weights"] for name, each in bodies.items()},
            "abroad": self.abroad.to_dict(),
            "intervals": {name: each.to_dict() for name, each in self.intervals.items()},
            "networks": list(self.networks),
        }

    def _outside(self, runs: Runs, sd: Numbers) -> NDArray[np.str_]:
        process = self.processes[TIME]
        near = process.nearest(runs.columns())
        said = [
            f"nothing like it measured; nearest: {process.columns['device'][close]} at a limit of "
            f"{2 ** process.columns['tight'][close]:.2f} times its free watts"
            if far > _FAR
            else ""
            for close, far in zip(near, sd, strict=True)
        ]
        return np.array(said, dtype=np.str_)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs (n,) under `limit_w` on a `device`, each with its reference: the same job's run with the highest limit."""

    device: NDArray[np.str_]
    limit_w: Numbers
    reference_limit_w: Numbers
    reference_s: Numbers
    reference_w: Numbers

    @classmethod
    def of(cls, rows: Rows) -> Runs:
        """Find the reference of each row (n,)."""
        device, limit = devices(rows), rows.number("power_limit")
        names = ("dataset", "network", "batch_size", "optimizer")
        said = [rows.text(name) for name in names if name in rows.columns]
        jobs = np.unique(np.stack([device, *said], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        reference = np.zeros(len(rows), dtype=np.int64)
        for job in range(jobs.max() + 1):
            at = np.flatnonzero(jobs == job)
            reference[at] = at[np.argmax(limit[at])]
        time, watts = (rows.number(name) for name in _COLUMNS.values())
        return cls(device, limit, limit[reference], time[reference], watts[reference])

    def alone(self) -> NDArray[np.bool_]:
        """Which runs (n,) are their own reference."""
        return self.limit_w >= self.reference_limit_w

    def capped(self) -> Numbers:
        """The logarithm (n,) of watts over those of the reference, were a limit a ceiling that is softly felt."""
        over = np.log(self.limit_w / self.reference_w)
        return -_SOFT * np.log1p(np.exp(np.minimum(-over / _SOFT, 500.0)))

    def columns(self) -> Columns:
        """What makes runs alike (n,): the device, and in octaves how the limit, the highest and free watts compare.

        `tight` is the limit over the watts drawn without it, and `cut` how far it is below them; `load` is these watts
        over the highest limit, and `cap` the limit over it.
        """
        free = np.log2(self.limit_w / self.reference_w)
        return {
            "device": self.device,
            "tight": np.clip(free, *_TIGHT),
            "cut": np.maximum(-free, 0.0),
            "load": np.log2(self.reference_w / self.reference_limit_w),
            "cap": np.log2(self.limit_w / self.reference_limit_w),
        }


@final
class PowerLimit(Table):
    """One row per network, batch size, optimiser and power limit on one device."""

    name: ClassVar[str] = "power_limit"
    columns: ClassVar[frozenset[str]] = frozenset(
        {"network", "batch_size", "optimizer", "power_limit", "time_per_epoch", "average_power"}
    )
    targets: ClassVar[Mapping[str, str]] = {TIME: "s", POWER: "W"}
    splits: ClassVar[tuple[str, ...]] = ("network", "device")

    def measured(self, rows: Rows) -> Mapping[str, Numbers]:
        """Seconds and watts (n,); NaN for the runs that others are predicted from."""
        alone = Runs.of(rows).alone()
        return {target: np.where(alone, np.nan, rows.number(name)) for target, name in _COLUMNS.items()}

    def groups(self, rows: Rows, split: str) -> NDArray[np.str_]:
        """The network, or the device."""
        return rows.text("network") if split == "network" else devices(rows)

    def learn(self, rows: Rows) -> Limits:
        """Learn from all runs that have a reference; intervals from networks left out."""
        runs, measured = Runs.of(rows), self.measured(rows)
        known = np.isfinite(measured[TIME]) & np.isfinite(measured[POWER])
        networks = rows.text("network")[known]
        if len(np.unique(networks)) < 2:
            raise BadInputError("There are not two networks under several limits.", "give runs of two or more.")
        logs = {
            TIME: np.log(measured[TIME] / runs.reference_s)[known],
            POWER: (np.log(measured[POWER] / runs.reference_w) - runs.capped())[known],
        }
        columns = {name: each[known] for name, each in runs.columns().items()}
        processes = {name: Process(_PARTS[name], _NOISE, columns, each) for name, each in logs.items()}
        told = {name: each.left_out(networks) for name, each in processes.items()}
        intervals = {name: Conformal.of(logs[name] - mean, networks, sd) for name, (mean, sd) in told.items()}
        return Limits(processes, intervals, _abroad(processes, intervals), tuple(np.unique(networks).tolist()))

    def restore(self, body: Mapping[str, Any]) -> Limits:
        """What `to_dict` wrote."""
        try:
            bodies = {name: {"columns": body["columns"], "weights": body["weights"][name]} for name in _COLUMNS}
            processes = {name: Process.restore(_PARTS[name], _NOISE, each) for name, each in bodies.items()}
            intervals = {name: Conformal.from_dict(body["intervals"][name]) for name in _COLUMNS}
            return Limits(processes, intervals, Abroad.from_dict(body["abroad"]), tuple(map(str, body["networks"])))
        except (KeyError, TypeError) as error:
            raise CorruptError(f"These are no power limits: {error!r}.", "fit them again.") from error


TABLE = PowerLimit()


def _abroad(processes: Mapping[str, Process], intervals: Mapping[str, Conformal]) -> Abroad:
    """How much wider intervals are on a device never measured: from leaving each of them out, where there are two."""
    device = processes[TIME].columns["device"]
    if len(np.unique(device)) < 2:
        return Abroad(tuple(np.unique(device).tolist()), dict.fromkeys(processes, 1.0))
    errors = {}
    for name, process in processes.items():
        mean, sd = process.left_out(device)
        errors[name] = process.values - mean, sd
    return Abroad.of(device, errors, intervals)


def devices(rows: Rows) -> NDArray[np.str_]:
    """The device (n,) of each row: as the column `gpu` says, or by the range of limits in its file.

    Whole files that follow each other are told apart by their line numbers; of parts of several, say the device.
    """
    if "gpu" in rows.columns:
        return rows.text("gpu")
    limit = rows.number("power_limit")
    file = np.concatenate([[0], np.cumsum(np.diff(rows.lines) < 0)])
    named = {}
    for each in np.unique(file):
        tried = limit[file == each]
        ends = round(float(tried.min())), round(float(tried.max()))
        named[each] = _RANGES.get(ends, f"{ends[0]}-{ends[1]} W")
    return np.array([named[each] for each in file], dtype=np.str_)
