"""Grid search: every combination of at most one setting per lever, cheapest predicted first, made when needed."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, final

from pennyweight.search.base import HOLDS, Strategy
from pennyweight.search.lattice import Lattice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.search.base import Steps
    from pennyweight.search.lattice import Point

_AHEAD = 1024  # combinations predicted before the cheapest of them is tried
_SKIPPED = 100_000
_LEAST = 0.002  # of the control's predicted bill: where less can be saved, the grid ends


@final
class Grid(Strategy):
    """Try everything, the cheapest on paper first, and leave out what must fail.

    Combinations come in the order of their predicted bill (exactly so if there are at most 1,024, nearly so if more).
    Left out are those that are at least as harsh, in every lever, as one that clearly broke the floor. The grid ends
    where the best run so far cannot be undercut any more, as far as one can predict.
    """

    def steps(self) -> Steps:
        """Yield the control, then one combination after the other."""
        control = yield self.scope.control
        if control is None:
            return
        lattice = Lattice(self.scope, control.score)
        best, here = control, lattice.origin
        enough_usd = _LEAST * self.scope.predict(control.plan).usd
        for point in _cheapest(lattice):
            if here != lattice.origin and lattice.saving_usd(point, here) <= enough_usd:
                return
            plan = lattice.plan(point)
            run = (yield plan) if plan else None
            if run is None:
                continue
            if lattice.learn(point, run.score) >= HOLDS and run.bill < best.bill:
                best, here = run, point


def _cheapest(lattice: Lattice) -> Iterator[Point]:
    """The points that fit and may hold, from a window in which the cheapest on paper is always next.

    What was predicted long ago is predicted again before it is given out, and waits if it has become dearer.
    """
    window: list[tuple[float, Point]] = []
    coming = likely_cheapest(lattice)
    while True:
        ahead = islice(coming, _SKIPPED)  # so many in a row that do not fit or cannot hold end the grid
        for point in islice((point for point in ahead if _may_hold(lattice, point)), _AHEAD - len(window)):
            heappush(window, (_usd(lattice, point), point))
        if not window:
            return
        point = heappop(window)[1]
        usd = _usd(lattice, point)
        if window and usd > window[0][0] and not lattice.is_hopeless(point):
            heappush(window, (usd, point))
        elif not lattice.is_hopeless(point):
            yield point


def _may_hold(lattice: Lattice, point: Point) -> bool:
    return point != lattice.origin and not lattice.is_hopeless(point) and lattice.plan(point) is not None


def _usd(lattice: Lattice, point: Point) -> float:
    bill = lattice.bill(point)
    return math.inf if bill is None else bill.usd


def likely_cheapest(lattice: Lattice) -> Iterator[Point]:
    """All points, in the order of what the levers would cost if each did what it does alone."""
    ladders = [_ladder(lattice, place) for place in range(len(lattice.groups))]
    start = (0,) * len(ladders)
    heap = [(sum(ladder[0][0] for ladder in ladders), start, 0)]
    while heap:
        size, ranks, first = heappop(heap)
        yield tuple(ladder[rank][1] for ladder, rank in zip(ladders, ranks, strict=True))
        for place in range(first, len(ladders)):  # counting on from the last place that moved reaches each point once
            rank, ladder = ranks[place] + 1, ladders[place]
            if rank < len(ladder):
                more = size + ladder[rank][0] - ladder[rank - 1][0]
                heappush(heap, (more, (*ranks[:place], rank, *ranks[place + 1 :]), place))


def _ladder(lattice: Lattice, place: int) -> list[tuple[float, int]]:
    """The settings of one lever, cheapest first, with the logarithm of what the bill is multiplied by."""
    control = lattice.bill(lattice.origin)
    steps = [(0.0, 0)]
    for at in range(1, len(lattice.groups[place]) + 1):
        bill = lattice.bill((*lattice.origin[:place], at, *lattice.origin[place + 1 :]))
        known = bill is not None and control is not None and bill.usd > 0 and control.usd > 0
        steps.append((math.log(bill.usd / control.usd) if known and bill and control else 0.0, at))
    return sorted(steps)
