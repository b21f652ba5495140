"""The candidate settings as a lattice: a point has one coordinate per lever, 0 to leave it out, higher for harsher."""

from __future__ import annotations

import math
from itertools import combinations, product
from statistics import NormalDist
from typing import TYPE_CHECKING

from pennyweight.core import Plan
from pennyweight.errors import PennyweightError
from pennyweight.search.base import CLEAR, HOLDS
from pennyweight.search.beliefs import Beliefs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pennyweight.core import Bill, Lever, Score
    from pennyweight.search.base import Scope

    Point = tuple[int, ...]

_MOST_KEPT = 20_000  # plans and bills remembered before memory is given back
_BLUR = 2.0  # how much less a score on a share of the data says than its standard error would have it
_LEAST = 0.002  # of the control's predicted bill: a smaller saving is not worth a trial


class Lattice:
    """Points, the plans and predicted bills they stand for, and what outcomes so far say about the others.

    `control` is the score of the job done as asked.
    """

    def __init__(self, scope: Scope, control: Score) -> None:
        self.scope = scope
        self.control = control
        groups: dict[type[Lever], list[Lever]] = {}
        for lever in sorted(scope.levers, key=lambda each: each.stage):
            groups.setdefault(type(lever), []).append(lever)
        self.groups = tuple(tuple(group) for group in groups.values())
        self.origin: Point = (0,) * len(self.groups)
        self.held: set[Point] = {self.origin}
        self.broken: dict[Point, float] = {}
        self.slack = _fall(control, scope.floor.threshold(control))
        self._beliefs = Beliefs([len(group) for group in self.groups], self.slack, control.se)
        self._plans: dict[Point, Plan | None] = {}
        self._bills: dict[Point, Bill | None] = {}

    def plan(self, point: Point) -> Plan | None:
        """The plan that pulls the settings of a point, in an order in which all fit; None if there is none."""
        if point not in self._plans:
            if len(self._plans) >= _MOST_KEPT:
                self._plans.clear()
            self._plans[point] = combined(self.scope.control, self.levers(point))
        return self._plans[point]

    def bill(self, point: Point) -> Bill | None:
        """The predicted bill of a point, None if its settings do not fit together."""
        if point not in self._bills:
            if len(self._bills) >= _MOST_KEPT:
                self._bills.clear()
            self._bills[point] = self._predicted(point)
        return self._bills[point]

    def saving_usd(self, point: Point, instead_of: Point) -> float:
        """Dollars a point is predicted to save beside another, both errors counted; 0 if it does not fit."""
        bill, other = self.bill(point), self.bill(instead_of)
        return other.expected_saving_usd(bill) if bill and other else 0.0

    def levers(self, point: Point) -> tuple[Lever, ...]:
        """The settings that a point stands for."""
        return tuple(group[at - 1] for group, at in zip(self.groups, point, strict=True) if at)

    def changes(self, point: Point) -> Iterator[Point]:
        """The points that differ in one lever: pulled, pulled harder, softer, or let go of."""
        for place, group in enumerate(self.groups):
            for at in range(len(group) + 1):
                if at != point[place]:
                    yield (*point[:place], at, *point[place + 1 :])

    def swaps(self, point: Point) -> Iterator[Point]:
        """The points that differ in exactly two levers."""
        for one, two in combinations(range(len(self.groups)), 2):
            for at_one, at_two in product(range(len(self.groups[one]) + 1), range(len(self.groups[two]) + 1)):
                if at_one != point[one] and at_two != point[two]:
                    yield (*point[:one], at_one, *point[one + 1 : two], at_two, *point[two + 1 :])

    def learn(self, point: Point, score: Score) -> float:
        """Note what a point reached on all data, and return how likely it is that this keeps the floor.

        Predictions made before are forgotten, for the predictor may have learnt from the run as well.
        """
        self._bills.clear()
        chance = self.scope.floor.chance(score, self.control)
        self._beliefs.learn(point, _fall(self.control, score.mean), score.se)
        if chance >= HOLDS:
            self.held.add(point)
        else:
            self.broken[point] = chance
        return chance

    def glimpse(self, point: Point, score: Score, control: Score) -> float:
        """Note what a point reached on a share of the data, where the control reached `control`; return its chance.

        The fall from the control is taken to be the same on all data, but less surely so.
        """
        self._bills.clear()
        fall = _fall(control, score.mean)
        self._beliefs.learn(point, fall, _BLUR * math.hypot(score.se, control.se))
        spread = math.hypot(score.se, control.se) or math.ulp(1.0)
        return NormalDist().cdf((self.slack - fall) / spread)

    def is_hopeless(self, point: Point) -> bool:
        """Whether a point is at least as harsh, in every lever, as one that clearly broke the floor."""
        return any(chance <= CLEAR and harsher_or_equal(point, each) for each, chance in self.broken.items())

    def chance(self, point: Point) -> float:
        """How likely a point keeps the floor, before it is tried; next to nothing if it is hopeless."""
        return min(self._beliefs.chance(point), CLEAR if self.is_hopeless(point) else 1.0)

    def worth_usd(self, point: Point, instead_of: Point) -> float:
        """The saving of a point times its chance; 0 if it does not fit, is hopeless, or would save next to nothing."""
        control, saving_usd = self.bill(self.origin), self.saving_usd(point, instead_of)
        if control is None or saving_usd <= _LEAST * control.usd or self.is_hopeless(point):
            return 0.0
        return saving_usd * self.chance(point)

    def _predicted(self, point: Point) -> Bill | None:
        plan = self.plan(point)
        try:
            return None if plan is None else self.scope.predict(plan)
        except PennyweightError:
            return None


def _fall(control: Score, mean: float) -> float:
    """How much worse than the control a mean is, in the direction of the metric."""
    return control.mean - mean if control.higher_is_better else mean - control.mean


def harsher_or_equal(point: Point, other: Point) -> bool:
    """Whether a point is at least as harsh as another in every lever."""
    return all(mine >= theirs for mine, theirs in zip(point, other, strict=True))


def combined(control: Plan, levers: Iterable[Lever]) -> Plan | None:
    """The plan with all these levers, in an order in which each of them fits; None if no order was found."""
    plan, rest = control, list(levers)
    while rest:
        late: list[Lever] = []
        for lever in rest:
            longer = _inserted(plan, lever)
            if longer is None:
                late.append(lever)
            else:
                plan = longer
        if len(late) == len(rest):
            return None
        rest = late
    return plan


def _inserted(plan: Plan, lever: Lever) -> Plan | None:
    """The plan with one more lever, pulled as late in its stage as all still fit."""
    latest = plan.then(lever)
    if _fits(latest):
        return latest
    for place in reversed([at for at, each in enumerate(plan.levers) if each.stage is lever.stage]):
        longer = Plan(plan.job, _with(plan.levers, place, lever), plan.fidelity, plan.seed)
        if _fits(longer):
            return longer
    return None


def _with(levers: Sequence[Lever], place: int, lever: Lever) -> tuple[Lever, ...]:
    return (*levers[:place], lever, *levers[place:])


def _fits(plan: Plan) -> bool:
    """Whether every lever fits where it stands; the plan finds out when it works out its spec."""
    try:
        return plan.spec is not None
    except PennyweightError:
        return False
