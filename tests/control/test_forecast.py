"""What the next trial will take, and how likely it keeps the floor."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pennyweight.control.forecast import Pace, chance
from pennyweight.core import Basis, Bill, Cost, Floor, Plan, Run, Score
from pennyweight.testing.paper import Paper, paper_job


@dataclass(frozen=True)
class Cut(Paper):
    depth: int


@dataclass(frozen=True)
class Fold(Paper):
    depth: int


FLOOR = Floor("accuracy", 0.01)
CONTROL = Score("accuracy", 0.95, 0.002, 10_000)
PLAN = Plan(paper_job(FLOOR))
MONEY = st.floats(0, 1e6)
COSTS = st.builds(Cost, MONEY, MONEY, MONEY, MONEY)
LEVERS = st.lists(st.builds(Cut, st.integers(1, 3)) | st.builds(Fold, st.integers(1, 3)), max_size=3)


def _run(*levers, mean=0.95, fidelity=1.0):
    return Run(Plan(PLAN.job, levers, fidelity), Bill(Basis.MEASURED), Score("accuracy", mean, 0.002, 10_000))


def _chance(*levers, after=()):
    return chance(Plan(PLAN.job, levers), after, FLOOR, CONTROL)


@given(LEVERS, st.lists(st.tuples(LEVERS, st.floats(0, 1)), max_size=6))
def test_it_is_a_probability_and_the_control_is_sure(levers, told):
    runs = [_run(*each, mean=mean) for each, mean in told]
    assert 0 <= _chance(*levers, after=runs) <= 1
    assert _chance(after=runs) == 1


def test_more_levers_are_a_greater_risk():
    assert 1 > _chance(Cut(1)) > _chance(Cut(1), Fold(1)) > 0.3


def test_what_held_is_trusted_and_what_broke_is_not():
    assert _chance(Cut(1), after=[_run(Cut(1))]) > _chance(Cut(1)) > _chance(Cut(1), after=[_run(Cut(1), mean=0.9)])


def test_another_setting_of_the_same_lever_says_less():
    same, other = _chance(Cut(1), after=[_run(Cut(1), Fold(2))]), _chance(Cut(1), after=[_run(Cut(2), Fold(2))])
    assert _chance(Cut(1)) < other < same


def test_a_plan_holds_if_a_longer_one_did_and_breaks_if_a_shorter_one_did():
    assert _chance(Cut(1), after=[_run(Cut(1), Fold(1))]) > 0.99
    assert _chance(Cut(1), Fold(1), after=[_run(Cut(1), mean=0.9)]) < 0.01


def test_the_blame_for_a_broken_floor_is_shared():
    alone = _chance(Cut(2), after=[_run(Cut(1), mean=0.9)])
    together = _chance(Cut(2), after=[_run(Cut(1), Fold(1), mean=0.9)])
    assert alone < together < _chance(Cut(2))


def test_runs_on_a_share_of_the_data_say_nothing_about_the_floor():
    assert _chance(Cut(1), after=[_run(Cut(1), mean=0.5, fidelity=0.1)]) == _chance(Cut(1))


def test_a_pace_adds_what_trials_took_beyond_what_was_foreseen():
    pace = Pace()
    assert pace.expect(Cost(wall_s=3.0)) == Cost(wall_s=3.0)
    for real in (5.0, 6.0, 100.0):
        pace = pace.learn(Cost(wall_s=3.0, usd=1.0), Cost(wall_s=real, usd=0.5))
    assert pace.expect(Cost(wall_s=10.0, usd=0.75)) == Cost(wall_s=13.0, usd=0.25)


@given(st.lists(st.tuples(COSTS, COSTS), max_size=5), COSTS)
def test_nothing_is_ever_expected_to_pay_back(told, foreseen):
    pace = Pace()
    for before, real in told:
        pace = pace.learn(before, real)
    expected = pace.expect(foreseen)
    assert min(expected.device_s, expected.wall_s, expected.joule, expected.usd) >= 0
