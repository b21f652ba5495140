"""Grid search: every combination of at most one setting per lever, single levers first, made when needed."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import combinations, islice, product
from typing import TYPE_CHECKING, final

from pennyweight.search.base import HOLDS, Strategy
from pennyweight.search.lattice import Lattice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pennyweight.search.base import Steps
    from pennyweight.search.lattice import Point

_AHEAD = 1024  # combinations weighed on paper before the most promising of them is tried
_IDLE = 20_000  # combinations in a row that promise nothing end the grid


@final
class Grid(Strategy):
    """Try everything, in the order of what it promises, and leave out what must fail.

    Combinations are read in the order of how many levers they pull, 1,024 ahead; of those, the one with the largest
    predicted saving times chance that it keeps the floor is next. Left out are those that save nothing beside the best
    run so far, and those that are at least as harsh, in every lever, as one that clearly broke the floor.
    """

    def steps(self) -> Steps:
        """Yield the control, then one combination after the other."""
        control = yield self.scope.control
        if control is None:
            return
        self._lattice = lattice = Lattice(self.scope, control.score)
        best, self._here = control, lattice.origin
        for point in self._promising():
            plan = lattice.plan(point)
            run = (yield plan) if plan else None
            if run is not None and lattice.learn(point, run.score) >= HOLDS and run.bill < best.bill:
                best, self._here = run, point

    def _promising(self) -> Iterator[Point]:
        """The points that promise something, the one that promises most always next.

        What was weighed long ago is weighed again before it is given out, and waits if it has become less.
        """
        window: list[tuple[float, Point]] = []
        coming, idle = simplest_first(self._lattice), 0
        while idle < _IDLE:
            for loss, point in self._weighed(islice(coming, _AHEAD if len(window) < _AHEAD else 0)):
                heappush(window, (loss, point))
            idle = 0 if window else idle + _AHEAD
            for loss, point in self._weighed([heappop(window)[1]] if window else []):
                if window and loss > window[0][0]:
                    heappush(window, (loss, point))
                else:
                    yield point

    def _weighed(self, points: Iterable[Point]) -> Iterator[tuple[float, Point]]:
        """Those of the points that promise something, each with minus what it promises, in dollars."""
        for point in points:
            if worth_usd := self._lattice.worth_usd(point, self._here):
                yield -worth_usd, point


def simplest_first(lattice: Lattice) -> Iterator[Point]:
    """All points but the origin: those that pull one lever, those that pull two, and so on."""
    places = range(len(lattice.groups))
    for number in range(1, len(places) + 1):
        for pulled in combinations(places, number):
            for settings in product(*(range(1, len(lattice.groups[place]) + 1) for place in pulled)):
                at = dict(zip(pulled, settings, strict=True))
                yield tuple(at.get(place, 0) for place in places)
