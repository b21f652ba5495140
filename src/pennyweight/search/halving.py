"""Successive halving: many plans on a ninth of the data, the best third on a third of it, the best of those on all."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import TYPE_CHECKING, final

from pennyweight.search.base import CLEAR, HOLDS, Strategy
from pennyweight.search.lattice import Lattice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pennyweight.core import Score
    from pennyweight.search.base import Steps
    from pennyweight.search.lattice import Point

_RUNGS = (1 / 9, 1 / 3)
_KEPT = 1 / 3  # of the plans of a rung
_FIRST = 9  # plans on the lowest rung
_BRACKETS = 8
_DRAWN = 20  # points drawn on paper for one that is tried


@final
class Halving(Strategy):
    """Look at many plans cheaply, at few closely (Jamieson & Talwalkar 2016).

    A plan's worth is its predicted saving times the chance that it keeps the floor, which on a share of the data means:
    against the control on the same share. Plans for the first bracket are drawn from all combinations, later ones
    from those near the best run so far; of the many drawn, those that promise most on paper are tried.
    """

    def steps(self) -> Steps:
        """Yield the control, then bracket after bracket: a rung's plans, the best third of them with more data, …."""
        control = yield self.scope.control
        if control is None:
            return
        self._lattice = lattice = Lattice(self.scope, control.score)
        self._random = Random(self.scope.seed)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
        self._control, self._best, self._here = control, control, lattice.origin
        self._seen = {lattice.origin}
        for _ in range(_BRACKETS):
            points = self._draw(self._here)
            for fidelity in _RUNGS:
                worth: dict[Point, float] = {}
                if points:
                    yield from self._rung(points, fidelity, worth)
                points = sorted(worth, key=lambda point: (-worth[point], point))[: ceil(len(points) * _KEPT)]
            for point in points:
                yield from self._full(point)

    def _rung(self, points: list[Point], fidelity: float, worth: dict[Point, float]) -> Steps:
        """Try some points on a share of the data and fill in what they are worth; what clearly fails is left out."""
        small = yield self.scope.control.at(fidelity)
        scores: dict[Point, Score] = {}
        for point in points:
            plan = self._lattice.plan(point)
            run = (yield plan.at(fidelity)) if plan else None
            if run is not None:
                scores[point] = run.score
        for point, score in scores.items():
            measure = small.score if small else _best(scores.values())
            chance = self._lattice.glimpse(point, score, measure)
            if chance > CLEAR:
                worth[point] = chance * self._lattice.saving_usd(point, self._here)

    def _full(self, point: Point) -> Steps:
        """Try a point on all data unless it has become hopeless, and keep it if it is the best so far."""
        plan = self._lattice.plan(point)
        run = (yield plan) if plan and not self._lattice.is_hopeless(point) else None
        if run is None:
            return
        if self._lattice.learn(point, run.score) >= HOLDS and run.bill < self._best.bill:
            self._best, self._here = run, point

    def _draw(self, here: Point) -> list[Point]:
        """The points, not seen before, that promise most among many drawn around `here`."""
        lattice = self._lattice
        drawn = {*lattice.changes(here), *(self._near(here) for _ in range(_DRAWN * _FIRST))} - self._seen
        worth = {point: lattice.worth_usd(point, here) for point in drawn}
        chosen = sorted((point for point in worth if worth[point]), key=lambda point: (-worth[point], point))[:_FIRST]
        self._seen.update(chosen)
        return chosen

    def _near(self, here: Point) -> Point:
        """A point that differs from `here` in some levers: anywhere as long as `here` is the control."""
        lattice = self._lattice
        moves = 0.5 if here == lattice.origin else 1.5 / len(here)
        return tuple(
            self._random.randrange(len(group) + 1) if self._random.random() < moves else at
            for at, group in zip(here, lattice.groups, strict=True)
        )


def _best(scores: Iterable[Score]) -> Score:
    """What the control is taken to reach on a share of the data, if it could not be tried there."""
    return max(scores, key=lambda score: score.mean if score.higher_is_better else -score.mean)
