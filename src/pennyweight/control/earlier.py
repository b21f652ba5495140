"""What earlier runs on the ledger teach a forecast: beliefs, and by how much its intervals were too narrow on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.control.beliefs import Belief, Lesson, learned
from pennyweight.control.curves import LEAST_POINTS, Curve, Outlook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pennyweight.control.spaces import Space
    from pennyweight.store.records import Entry, RunRecord

NOTE = "curve"
"""The key of a run's learning curve in the note of its record on the ledger."""

_MOST = 24
_CUTS = (0.2, 0.4, 0.6)  # after which shares of an earlier run its end is forecast, to see how far off that is
_ENOUGH = 12  # forecasts, below which nothing is said about their errors
_HALF = 1.645  # of a 90% interval, in standard deviations
_NARROWEST, _WIDEST = 0.7, 3.0


@final
@dataclass(frozen=True, eq=False)
class Earlier:
    """What earlier runs taught: `beliefs` to begin with, and the factor `widen` on every interval."""

    beliefs: tuple[Belief, ...] = ()
    widen: float = 1.0

    @classmethod
    def of(cls, curves: Sequence[Curve], space: Space, horizon: float) -> Self:
        """Learn from whole runs (the last 24), scaled to `horizon` steps; what does not fit the space is left out.

        The end of each is forecast from its beginning with what the others teach. Where such intervals of 90% held
        more or less than that of the ends, `widen` sets them right (split conformal prediction on scaled errors, Lei et
        al. 2018). With fewer than twelve such forecasts it is one.
        """
        usable = [each for each in curves if len(each) >= LEAST_POINTS and space.holds(np.array(each.y))][-_MOST:]
        lessons = [Lesson.of(each, space, horizon) for each in usable]
        return cls(learned(lessons), _widen(usable, lessons, horizon, space))

    def outlook(self, curve: Curve, horizon: float, seed: int = 0) -> Outlook:
        """The outlook of a run after `curve`."""
        return Outlook(curve, horizon, self.beliefs, self.widen, seed)


def _widen(curves: Sequence[Curve], lessons: Sequence[Lesson], horizon: float, space: Space) -> float:
    misses = []
    for at, curve in enumerate(curves):
        beliefs = learned([*lessons[:at], *lessons[at + 1 :]])
        scaled = Curve.of([x * horizon / curve.x[-1] for x in curve.x], curve.y, curve.se, rises=curve.rises)
        for cut in _CUTS:
            begun = scaled.upto(cut * horizon)
            if len(begun) >= LEAST_POINTS and begun.space is space:
                misses.append(_miss(Outlook(begun, horizon, beliefs), scaled, space))
    if len(misses) < _ENOUGH:
        return 1.0
    rank = min(1.0, 0.9 * (1 + 1 / len(misses)))
    return float(np.clip(np.quantile(misses, rank), _NARROWEST, _WIDEST))


def _miss(outlook: Outlook, whole: Curve, space: Space) -> float:
    """How far off the forecast of the end is, in halves of its interval, where the curve falls."""
    found = outlook.forecast(whole.x[-1])
    low, middle, high, truth = space.inward(np.array([found.low, found.mean, found.high, whole.y[-1]]))
    side = (low if (truth < middle) == (low < middle) else high) - middle
    return float(abs(truth - middle) / max(abs(side), 1e-12))


def note_of(curve: Curve, metric: str) -> dict[str, Any]:
    """A learning curve as it is kept in the note of a run's record."""
    return {NOTE: {"metric": metric, "x": list(curve.x), "y": list(curve.y), "se": list(curve.se)}}


def curves_of(runs: Iterable[RunRecord | Entry], metric: str) -> list[Curve]:
    """The learning curves of `metric` that runs (or the last entries of trainings) on the ledger kept, oldest first."""
    from pennyweight.core import higher_is_better

    kept = [run.note[NOTE] for run in runs if run.note.get(NOTE, {}).get("metric") == metric]
    return [Curve.of(each["x"], each["y"], each.get("se", ()), rises=higher_is_better(metric)) for each in kept]
