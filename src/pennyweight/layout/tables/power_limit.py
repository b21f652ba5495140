"""Seconds per epoch and mean watts of training under a power limit, relative to one measured run of the same job.

How long an epoch of a network takes at all cannot be told from this table, so it is not asked: a row is predicted from
the run of the same network, data, batch size and optimiser on the same device with the *highest* limit, whose time and
watts are read. That run itself is therefore never a target. What other limits do is learned by likeness: of the limit
to the watts drawn without it and to the highest limit, on this device and on all. Where a network was measured at
several batch sizes, how much slower and more frugal this one is than the best of them, each under the highest limit,
says how far the device waits for its host: then a limit costs less time. On a device never measured, intervals are as
wide as devices that were left out showed.

The device is in a column `gpu`, otherwise it is told from the range of limits tried on it. Sources: the traces of Zeus
(You, Chung & Chowdhury, NSDI 2023) for A40, P100, V100 and Quadro RTX 6000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.energy.limits import ALONE, BESIDE, POWER, TIME, Alike, compared
from pennyweight.layout.tables.table import Forecast, Learnt, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.cost.learn.process import Columns
    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_COLUMNS = {TIME: "time_per_epoch", POWER: "average_power"}
_RANGES = {(100, 300): "a40", (125, 250): "p100", (100, 260): "quadro-rtx-6000", (100, 250): "v100-16gb"}
_SOFT = 0.06  # of the logarithm: watts vary within an epoch, so a limit is felt before their mean reaches it
_TIGHT = (-2.0, 1.5)
_SPARE, _TOP = 3.0, -1.5  # octaves beyond which a device waits anyway
_FAR = 0.2  # standard deviation of the logarithm above which nothing like a row was measured


@dataclass(frozen=True, slots=True)
class Limits(Learnt):
    """What a limit does to a run known alone, and to one known beside other batch sizes, if such were learned."""

    alone: Alike
    beside: Alike | None
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
        alone, known = _told(self.alone, runs), runs.compared()
        if self.beside is None or not known.any():
            return alone
        beside = _told(self.beside, runs)
        return {name: _chosen(known, beside[name], each) for name, each in alone.items()}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        columns = self.alone.processes[TIME].to_dict()["columns"]
        body = {"columns": {name: columns[name] for name in columns if name != "capped"}, "alone": self.alone.to_dict()}
        beside = {} if self.beside is None else {"beside": self.beside.to_dict()}
        return {**body, **beside, "networks": list(self.networks)}


def _told(way: Alike, runs: Runs) -> dict[str, Forecast]:
    columns, found = runs.columns(), {}
    for name, start in ((TIME, runs.reference_s), (POWER, runs.reference_w)):
        share, sd = way.at(name, columns)
        value = start * np.exp(share)
        found[name] = Forecast(value, *way.ends(name, value, sd, runs.device), _outside(way, columns, sd))
    return found


def _chosen(known: Mask, one: Forecast, other: Forecast) -> Forecast:
    """The one where it is known, the other elsewhere."""
    value, low, high = (np.where(known, getattr(one, end), getattr(other, end)) for end in ("value", "low", "high"))
    return Forecast(value, low, high, np.where(known, one.outside, other.outside))


def _outside(way: Alike, columns: Columns, sd: Numbers) -> NDArray[np.str_]:
    process = way.processes[TIME]
    device, tight = process.columns["device"], process.columns["tight"]
    said = [
        f"nothing like it measured; nearest: {device[close]} at a limit of {2 ** tight[close]:.2f} times its free watts"
        if far > _FAR
        else ""
        for close, far in zip(process.nearest(columns), sd, strict=True)
    ]
    return np.array(said, dtype=np.str_)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs (n,) under `limit_w` on a `device`, each with its reference: the same job's run with the highest limit.

    `fastest_s` and `most_w` are the least seconds and the most watts of the references of all batch sizes of the same
    work on the device; NaN where there is one batch size.
    """

    device: NDArray[np.str_]
    limit_w: Numbers
    reference_limit_w: Numbers
    reference_s: Numbers
    reference_w: Numbers
    fastest_s: Numbers
    most_w: Numbers

    @classmethod
    def of(cls, rows: Rows) -> Runs:
        """Find the reference of each row (n,)."""
        device, limit = devices(rows), rows.number("power_limit")
        said = {name: rows.text(name) for name in _JOB if name in rows.columns}
        jobs = _codes(device, *said.values())
        reference = np.zeros(len(rows), dtype=np.int64)
        for job in range(jobs.max() + 1):
            at = np.flatnonzero(jobs == job)
            reference[at] = at[np.argmax(limit[at])]
        time, watts = (rows.number(name)[reference] for name in _COLUMNS.values())
        work = _codes(device, *(each for name, each in said.items() if name in _WORK))
        best = compared(work, rows.text("batch_size"), time, watts)
        return cls(device, limit, limit[reference], time, watts, *best)

    def take(self, chosen: Mask) -> Runs:
        """The chosen runs."""
        return Runs(**{name: getattr(self, name)[chosen] for name in self.__slots__})

    def alone(self) -> Mask:
        """Which runs (n,) are their own reference."""
        return self.limit_w >= self.reference_limit_w

    def compared(self) -> Mask:
        """Which runs (n,) are known beside other batch sizes."""
        return np.isfinite(self.fastest_s)

    def columns(self) -> Columns:
        """What makes runs alike (n,): the device, and in octaves how the limit, the highest and free watts compare.

        `tight` is the limit over the watts drawn without it, and `cut` how far it is below them; `load` is these watts
        over the highest limit, and `cap` the limit over it; `spare` the seconds over those of the fastest batch size
        and `top` the watts over those of the hungriest, nought where they are not known. For `capped` see `Alike`.
        """
        over = np.log(self.limit_w / self.reference_w)
        free = over / np.log(2)
        return {
            "device": self.device,
            "tight": np.clip(free, *_TIGHT),
            "cut": np.maximum(-free, 0.0),
            "load": np.log2(self.reference_w / self.reference_limit_w),
            "cap": np.log2(self.limit_w / self.reference_limit_w),
            "spare": np.nan_to_num(np.minimum(np.log2(self.reference_s / self.fastest_s), _SPARE)),
            "top": np.nan_to_num(np.maximum(np.log2(self.reference_w / self.most_w), _TOP)),
            "capped": -_SOFT * np.log1p(np.exp(np.minimum(-over / _SOFT, 500.0))),
        }


_WORK = ("dataset", "network")
_JOB = (*_WORK, "batch_size", "optimizer")


def _codes(*columns: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


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
        told = runs.take(known)
        columns, beside = told.columns(), told.compared()
        logs = {TIME: np.log(measured[TIME] / runs.reference_s), POWER: np.log(measured[POWER] / runs.reference_w)}
        logs = {name: each[known] for name, each in logs.items()}
        alone = Alike.fit(ALONE, columns, logs, networks)
        many = Alike.fit(BESIDE, columns, logs, networks) if beside.all() else None
        return Limits(alone, many, tuple(np.unique(networks).tolist()))

    def restore(self, body: Mapping[str, Any]) -> Limits:
        """What `to_dict` wrote."""
        try:
            columns, networks = body["columns"], tuple(map(str, body["networks"]))
            alone = Alike.restore(ALONE, columns, body["alone"])
            beside = Alike.restore(BESIDE, columns, body["beside"]) if "beside" in body else None
            return Limits(alone, beside, networks)
        except (KeyError, TypeError) as error:
            raise CorruptError(f"These are no power limits: {error!r}.", "fit them again.") from error


TABLE = PowerLimit()


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
