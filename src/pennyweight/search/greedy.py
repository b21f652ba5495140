"""Greedy search: grow from the control by what promises most per dollar of trying, strike out what breaks the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from pennyweight.core import Phase, Stage
from pennyweight.search.base import HOLDS, Strategy
from pennyweight.search.lattice import Lattice

if TYPE_CHECKING:
    from pennyweight.core import Lever, Plan, Run
    from pennyweight.search.base import Steps
    from pennyweight.search.lattice import Point

_OVERHEAD = 0.25  # of what the control takes to train: trying anything takes about this, if only to measure it
_PATIENCE = 6  # swaps in a row that were tried in vain end the search


@final
class Greedy(Strategy):
    """Change one lever of the best plan so far at a time: pull it, pull it harder, softer, or let go of it.

    Among the moves, the one with the largest expected saving per dollar of search is tried. It is kept if the floor
    probably holds and the measured bill falls. A setting that breaks the floor is struck out with all harsher ones of
    the same lever, one that saves nothing is struck out alone. Where no single move is left, two levers are changed at
    once: one may make room for the other, or make it fit. If that helps, nothing is struck out any more.
    """

    def steps(self) -> Steps:
        """Yield the control, then one move after the other."""
        control = yield self.scope.control
        if control is None:
            return
        lattice = self._lattice = Lattice(self.scope, control.score)
        self._done = {_stages(control.plan)}
        best, here, vain = control, lattice.origin, 0
        self._seen = {here}
        self._amnesty()
        while vain < _PATIENCE and (point := self._choose(here)) is not None:
            plan = lattice.plan(point)
            single = _distance(here, point) == 1
            run = (yield plan) if plan else None
            if self._kept(run, point, best) and run:
                best, here, vain = run, point, 0
                if not single:
                    self._amnesty()
            elif single:
                self._strike(here, point)
            else:
                vain += 1

    def _amnesty(self) -> None:
        """Strike nothing out."""
        self._struck: set[tuple[int, int]] = set()
        self._most = [len(group) for group in self._lattice.groups]

    def _kept(self, run: Run | None, point: Point, best: Run) -> bool:
        self._seen.add(point)
        if run is None:
            return False
        self._done.add(_stages(run.plan))
        return self._lattice.learn(point, run.score) >= HOLDS and run.bill < best.bill

    def _strike(self, here: Point, point: Point) -> None:
        place = next(place for place, at in enumerate(point) if at != here[place])
        if point in self._lattice.broken:
            self._most[place] = min(self._most[place], max(here[place], point[place] - 1))
        else:
            self._struck.add((place, point[place]))

    def _choose(self, here: Point) -> Point | None:
        """The best next point, None if nothing promises to save enough."""
        singles = (point for point in self._lattice.changes(here) if self._is_open(point))
        for points in (singles, self._lattice.swaps(here)):
            worth = {point: self._worth(here, point) for point in points if point not in self._seen}
            best = max(worth, key=lambda point: worth[point], default=here)
            if worth.get(best, 0.0) > 0:
                return best
        return None

    def _is_open(self, point: Point) -> bool:
        struck = any(at > most for at, most in zip(point, self._most, strict=True))
        return not struck and self._struck.isdisjoint(enumerate(point))

    def _worth(self, here: Point, point: Point) -> float:
        """The expected saving per dollar of search; 0 if there is next to none."""
        lattice = self._lattice
        worth_usd = lattice.worth_usd(point, here)
        plan, bill, control = lattice.plan(point), lattice.bill(point), lattice.bill(lattice.origin)
        if not worth_usd or plan is None or bill is None or control is None:
            return 0.0
        train, compress = _stages(plan)
        effort_usd = _OVERHEAD * (control.line(Phase.TRAIN).usd + control.line(Phase.COMPRESS).usd)
        if all(train != done for done, _ in self._done):
            effort_usd += bill.line(Phase.TRAIN).usd
        if (train, compress) not in self._done:
            effort_usd += bill.line(Phase.COMPRESS).usd
        return worth_usd / (effort_usd or 1.0)


def _distance(one: Point, other: Point) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _stages(plan: Plan) -> tuple[tuple[Lever, ...], tuple[Lever, ...]]:
    """What decides the training, and what decides the compressed model: work that is shared by plans that agree."""
    return plan.upto(Stage.TRAIN), plan.upto(Stage.COMPRESS)
