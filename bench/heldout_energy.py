"""Errors of energy: of served models and devices never seen, and of networks never seen under a power limit.

The best limit is chosen as `best_limit` does, from predictions of a network (device) that was left out: `regret` is how
much more joules the limit chosen took than the least measured, of those at most 10% slower than the fastest (or of
all), never below nought; `beyond 10% slower` how much longer it took than that. Each setting was measured once, and
the least of eight equal settings is some 5% below their mean, so some regret is left whatever is known: `run` is what
is left where all but the very run that is told was measured, the other limits of its job included. What the noise of
measuring leaves to whoever knows the truth is what `bench.limits_noise` finds.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import HeldOut, Line, held_out, line_of, lines, report
from pennyweight.cost.learn.process import Part, Process
from pennyweight.layout.energy.limits import BESIDE, POWER, TIME
from pennyweight.layout.energy.power import Choices
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import energy_serving, power_limit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_DEVICES = {"a40": "a40", "p100": "p100", "rtx6000": "quadro-rtx-6000", "v100": "v100-16gb"}
_WANTED = {("model", "joule_token"): 0.10}
SLOWER = 0.1
_REGRET = 0.02
_OWN = {TIME: Part(0.3, ("job",), {"cut": 0.3, "cap": 0.3}), POWER: Part(0.2, ("job",), {"tight": 0.3})}
_NOISE = 0.05  # of a measurement


def results(data: Path) -> list[Line]:
    """Lines of all tables, on one thread, whatever the environment says: small trees on many are far slower."""
    with _one_thread():
        return [*_served(data), *limits(power_limits(data))]


def power_limits(data: Path) -> Rows:
    """The rows of all devices, each with the name of its device."""
    files = {name: Rows.read(data / "energy" / f"summary_power_{name}.csv") for name in _DEVICES}
    columns = {name: np.concatenate([each.columns[name] for each in files.values()]) for name in files["a40"].columns}
    columns["gpu"] = np.concatenate([np.full(len(each), _DEVICES[name]) for name, each in files.items()])
    return Rows(columns, np.concatenate([each.lines for each in files.values()]))


def _one_thread() -> AbstractContextManager[object]:
    """A context; only libraries that are loaded before can be told, so the one that grows trees is."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no stubs

    import_module("sklearn.ensemble")
    limited: AbstractContextManager[object] = threadpool_limits(1)
    return limited


def _served(data: Path) -> list[Line]:
    """The last lines are of a predictor that was told the mean batch that came about."""
    served = Rows.read(data / "energy" / "serving_energy_mlenergy_v3.csv")
    served = served.take(served.number("energy_per_token_joules") > 0)
    told = energy_serving.measured_batch()
    more = held_out(told, served, "model")
    found = [line_of((f"{told.name}, batch told", name, "model"), each, None) for name, each in more.items()]
    return [*lines(energy_serving.TABLE, served, _WANTED), *found]


def limits(rows: Rows) -> list[Line]:
    """Errors under power limits, and what the limits chosen from them cost, of networks and of devices left out."""
    table, runs = power_limit.TABLE, power_limit.Runs.of(rows)
    own, found, chosen = runs.alone(), [], []
    for split in table.splits:
        told = held_out(table, rows, split)
        found += [line_of((table.name, name, split), each, None) for name, each in told.items()]
        seconds = np.where(own, runs.reference_s, told[TIME].value)
        watts = np.where(own, runs.reference_w, told[POWER].value)
        chosen += _choices(rows, split, seconds, watts)
    return [*found, *chosen, *_choices(rows, "run", *truth_of(rows, but_itself=True))]


def truth_of(rows: Rows, *, but_itself: bool = False) -> tuple[Numbers, Numbers]:
    """Seconds and watts (n,) of each run, told from all runs, or all others; most of all from those of its own job."""
    runs, job = power_limit.Runs.of(rows), np.zeros(len(rows), dtype=np.int64)
    for number, at in enumerate(jobs_of(rows)):
        job[at] = number
    known = ~runs.alone()
    columns = {**runs.take(known).columns(), "job": job[known].astype(np.str_)}
    found = []
    for name, start, said in ((TIME, runs.reference_s, "time_per_epoch"), (POWER, runs.reference_w, "average_power")):
        usual = columns["capped"] if name == POWER else np.zeros(known.sum())
        logs = np.log(rows.number(said) / start)[known] - usual
        process = Process((*BESIDE[name], _OWN[name]), _NOISE, columns, logs)
        mean, _ = process.left_out(np.arange(len(logs)).astype(str)) if but_itself else process.at(columns)
        told = np.array(start)
        told[known] *= np.exp(np.maximum(mean, 0) if name == TIME else np.minimum(usual + mean, 0))
        found.append(told)
    return found[0], found[1]


def _choices(rows: Rows, split: str, seconds: Numbers, watts: Numbers) -> list[Line]:
    """What the limits cost that are chosen by predicted `seconds` and `watts` (n,), of jobs with several settings."""
    jobs = [at for at in jobs_of(rows) if len(at) > 1]
    time, draw = rows.number("time_per_epoch"), rows.number("average_power")
    limit = rows.number("power_limit")

    def at_best(at: NDArray[np.int64], told: tuple[Numbers, Numbers], slowdown: float) -> int:
        return int(at[Choices(limit[at], np.ones(len(at)), told[0][at], told[1][at]).best(None, slowdown)])

    found = []
    for slowdown, said in ((SLOWER, "regret, 10% slower"), (np.inf, "regret, any time")):
        chosen = np.array([at_best(at, (seconds, watts), slowdown) for at in jobs])
        best = np.array([at_best(at, (time, draw), slowdown) for at in jobs])
        joule = time * draw
        wanted = _REGRET if slowdown == SLOWER and split in power_limit.TABLE.splits else None
        found.append(_above((said, split), joule[best], joule[chosen], wanted))
        if slowdown == SLOWER:
            allowed = np.array([(1 + slowdown) * time[at].min() for at in jobs])
            found.append(_above(("beyond 10% slower", split), allowed, time[chosen], None))
    return found


def _above(names: tuple[str, str], least: Numbers, took: Numbers, wanted: float | None) -> Line:
    ends = np.full(len(least), np.nan)
    line = line_of((power_limit.TABLE.name, *names), HeldOut(least, np.maximum(took, least), ends, ends, 0.0), wanted)
    return replace(line, covered=float("nan"), width=float("nan"))


def jobs_of(rows: Rows) -> list[NDArray[np.int64]]:
    """Where the settings of each job are: one network, data, batch size and optimiser on one device."""
    names = ("gpu", "dataset", "network", "batch_size", "optimizer")
    _, job = np.unique(np.stack([rows.text(name) for name in names], axis=1), axis=0, return_inverse=True)
    return [np.flatnonzero(job.reshape(-1) == each) for each in range(job.max() + 1)]


if __name__ == "__main__":
    report(results)
