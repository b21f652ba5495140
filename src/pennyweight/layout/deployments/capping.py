"""Which power limit is the cheapest for a job, told from one measured run of it; and which batch size beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.energy.limits import POWER, TIME, compared
from pennyweight.layout.energy.power import Choices, Tariff
from pennyweight.layout.tables.accelerators import named
from pennyweight.layout.tables.finding import shipped
from pennyweight.layout.tables.power_limit import Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.tables.power_limit import Limits
    from pennyweight.layout.tables.table import Forecast

    Numbers = NDArray[np.float64]

_STEP_W = 25.0
_LOWEST = 0.4  # of the limit it was measured at: below, nothing was ever measured


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a job on one device took: seconds of an epoch (or of any piece of work) and mean watts.

    `limit_w` is the power limit it ran under; others are predicted from it, so it should be the device's highest.
    `epochs` is how many are needed until the target, which a batch size changes and a limit does not.
    """

    device: str
    limit_w: float
    seconds: float
    watts: float
    batch: float = 1.0
    epochs: float = 1.0

    def __post_init__(self) -> None:
        figures = {"limit_w": self.limit_w, "seconds": self.seconds, "watts": self.watts, "epochs": self.epochs}
        wrong = next((name for name, value in figures.items() if not value > 0), None)
        if wrong:
            raise BadInputError(f"A run has {wrong} = {figures[wrong]:g}.", "give what was measured, above zero.")


@dataclass(frozen=True, slots=True)
class Setting:
    """A power limit and batch size, what the whole job takes with them, each with its 90% interval, and the cost.

    `slower` is by which share it takes longer than the fastest setting, `saved` which share of its cost is saved;
    `outside` says where nothing like it was measured.
    """

    limit_w: float
    batch: float
    seconds: tuple[float, float, float]
    watts: tuple[float, float, float]
    slower: float
    saved: float
    outside: str

    @property
    def joule(self) -> float:
        """Energy of the whole job."""
        return self.seconds[0] * self.watts[0]


def best_limit(
    runs: Run | Sequence[Run], slowdown: float = 0.1, tariff: Tariff | None = None, limits_w: Sequence[float] = ()
) -> Setting:
    """The cheapest power limit, and of several runs batch size, that is at most `slowdown` slower than the fastest.

    Give one run per batch size, each measured under the highest limit, with the epochs it needs. Several also say how
    far the device waits for its host. Without a tariff the cost is joules. `limits_w` are those to choose from; by
    default every 25 W from 40% of the limit measured.
    """
    measured = [runs] if isinstance(runs, Run) else list(runs)
    if not measured:
        raise BadInputError("Nothing was measured.", "give one run per batch size.")
    pairs = [(run, limit) for run in measured for limit in _limits(run, limits_w)]
    told = under(pairs)
    epochs = np.array([run.epochs for run, _ in pairs])
    choices = Choices(
        np.array([limit for _, limit in pairs]),
        np.array([run.batch for run, _ in pairs]),
        told[TIME].value * epochs,
        told[POWER].value,
    )
    best, fastest = choices.best(tariff, slowdown), int(np.argmin(choices.seconds))
    cost = (tariff or Tariff()).usd(choices.seconds, choices.watts)
    seconds = told[TIME]
    return Setting(
        float(choices.limit_w[best]),
        float(choices.batch[best]),
        _ends(seconds, best, float(epochs[best])),
        _ends(told[POWER], best, 1.0),
        float(choices.seconds[best] / choices.seconds[fastest] - 1),
        float(1 - cost[best] / cost[fastest]),
        str(seconds.outside[best]),
    )


def under(pairs: Sequence[tuple[Run, float]]) -> dict[str, Forecast]:
    """Seconds of an epoch and watts (n,) of n runs of one job, each under another limit; under its own, as measured."""
    learnt = cast("Limits", shipped("power_limit"))
    device = np.array([named(run.device).name for run, _ in pairs])
    limit = np.array([limit for _, limit in pairs], dtype=np.float64)
    highest, seconds, watts, batch = (np.array([getattr(run, name) for run, _ in pairs], float) for name in _MEASURED)
    runs = Runs(device, limit, highest, seconds, watts, *compared(device, batch, seconds, watts))
    told = dict(learnt.under(runs))
    for name, known in ((TIME, runs.reference_s), (POWER, runs.reference_w)):
        own = runs.alone()
        for end in (told[name].value, told[name].low, told[name].high):
            end[own] = known[own]
    return told


_MEASURED = ("limit_w", "seconds", "watts", "batch")


def _limits(run: Run, asked: Sequence[float]) -> list[float]:
    """The limits to look at, the run's own among them."""
    if any(not 0 < limit <= run.limit_w for limit in asked):
        raise BadInputError(
            f"A limit is not between 0 and the {run.limit_w:g} W of the run.", "measure under the highest limit."
        )
    every = asked or np.arange(np.ceil(_LOWEST * run.limit_w / _STEP_W) * _STEP_W, run.limit_w, _STEP_W).tolist()
    return sorted({*map(float, every), run.limit_w})


def _ends(told: Forecast, at: int, times: float) -> tuple[float, float, float]:
    return float(told.value[at] * times), float(told.low[at] * times), float(told.high[at] * times)
