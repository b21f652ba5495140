"""The regret of a power limit that measurement noise alone leaves, to whoever knows every setting's true cost.

    python -m bench.limits_noise [--data DIR]

Every setting was measured once, and a choice is judged by the least of up to nine measurements: that one was also
lucky. How lucky is seen in jobs that never draw as much as their lowest limit: all their settings are one and the
same, and still differ. Their residuals (drawn with replacement, 200 times) are put on what all runs together say of
every setting; the best true setting is chosen, and its regret is measured as `bench.heldout_energy` does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.heldout import DATA
from bench.heldout_energy import SLOWER, jobs_of, power_limits, truth_of
from bench.report import emit, table
from pennyweight.layout.energy.power import Choices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Numbers = NDArray[np.float64]

_FREE = 0.93  # of the lowest limit, which a job that is free of limits never draws
_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Noise:
    """Residuals (m,) of logarithms of seconds and of watts, of the same measurement each."""

    seconds: Numbers
    watts: Numbers


def main() -> None:
    """Print what noise leaves, of all jobs and of those that no limit touches."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=DATA, help="the folder of measured tables")
    rows = power_limits(options.parse_args().data)
    jobs = [at for at in jobs_of(rows) if len(at) > 1]
    free = np.array([_untouched(rows, at) for at in jobs])
    noise = noise_of(rows, [at for at, alike in zip(jobs, free, strict=True) if alike])
    regret = left_by(noise, rows, jobs)
    whole = regret.mean(axis=1)
    low, high = np.percentile(whole, [2.5, 97.5])
    heads = ["jobs", "settings differ by (s, W)", "regret that noise leaves", "of 95% of draws"]
    spread = f"{100 * noise.seconds.std():.1f}%, {100 * noise.watts.std():.1f}%"
    told = [f"{100 * whole.mean():.1f}%", f"{100 * low:.1f}% to {100 * high:.1f}%"]
    alone = [f"{100 * regret[:, free].mean():.1f}%", ""]
    table(heads, [[f"{len(jobs)}", "", *told], [f"{free.sum()} that no limit touches", spread, *alone]])
    emit("limits_noise", {"regret": float(whole.mean()), "low": float(low), "high": float(high)}, len(jobs))


def noise_of(rows: Rows, jobs: list[NDArray[np.int64]]) -> Noise:
    """How far the settings of jobs that are all alike are from their means, as if the means were known."""
    return Noise(*(_residuals(rows.number(name), jobs) for name in ("time_per_epoch", "average_power")))


def left_by(noise: Noise, rows: Rows, jobs: list[NDArray[np.int64]]) -> Numbers:
    """The regret (draws, jobs) of the truly best settings, measured with noise."""
    limit, (seconds, watts) = rows.number("power_limit"), truth_of(rows)
    chosen, random = _best(jobs, limit, (seconds, watts)), np.random.default_rng(0)
    found = []
    for _ in range(_DRAWS):
        at = random.integers(0, len(noise.seconds), len(rows))
        told = seconds * np.exp(noise.seconds[at]), watts * np.exp(noise.watts[at])
        joule = told[0] * told[1]
        found.append(np.maximum(joule[chosen] / joule[_best(jobs, limit, told)] - 1, 0.0))
    return np.array(found)


def _best(jobs: list[NDArray[np.int64]], limit: Numbers, told: tuple[Numbers, Numbers]) -> NDArray[np.int64]:
    choices = (Choices(limit[at], np.ones(len(at)), told[0][at], told[1][at]) for at in jobs)
    return np.array([at[each.best(None, SLOWER)] for at, each in zip(jobs, choices, strict=True)])


def _untouched(rows: Rows, at: NDArray[np.int64]) -> bool:
    return bool(rows.number("average_power")[at].max() < _FREE * rows.number("power_limit")[at].min())


def _residuals(values: Numbers, jobs: list[NDArray[np.int64]]) -> Numbers:
    logs = [np.log(values[at]) for at in jobs]
    return np.concatenate([(each - each.mean()) * np.sqrt(len(each) / (len(each) - 1)) for each in logs])


if __name__ == "__main__":
    main()
