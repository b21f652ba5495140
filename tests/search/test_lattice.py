"""The lattice of settings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_world import LEVERS, Host, Never, Round, Short, Thin, World

from pennyweight.core import Score
from pennyweight.errors import BadInputError
from pennyweight.search.beliefs import Beliefs
from pennyweight.search.grid import simplest_first
from pennyweight.search.lattice import Lattice, combined

CONTROL = Score("accuracy", 0.95, 0.004, 3000)
LATTICE = Lattice(World(wobble=0.0).scope, CONTROL)
POINTS = st.tuples(*(st.integers(0, len(group)) for group in LATTICE.groups))


def test_levers_are_grouped_by_class_in_stage_order_and_keep_their_order():
    assert [type(group[0]) for group in LATTICE.groups] == [Never, Short, Round, Thin, Host]
    assert [lever.keep for lever in LATTICE.groups[3]] == [0.9, 0.7, 0.5, 0.3, 0.2]
    assert LATTICE.origin == (0, 0, 0, 0, 0)
    assert LATTICE.plan(LATTICE.origin).is_control


@given(POINTS)
def test_a_point_is_a_plan_with_its_settings_or_none_if_they_do_not_fit(point):
    plan = LATTICE.plan(point)
    wanted = LATTICE.levers(point)
    assert len(wanted) == sum(at > 0 for at in point)
    if plan is None:
        assert point[0] or (point[4] == 3 and not point[2])
        assert LATTICE.bill(point) is None
        assert LATTICE.worth_usd(point, LATTICE.origin) == 0
    else:
        assert set(plan.levers) == set(wanted)
        assert plan.spec.ops


def test_levers_of_one_stage_are_put_in_an_order_in_which_all_fit():
    control = World().scope.control
    assert combined(control, (Round(8), Thin(0.5))).levers == (Thin(0.5), Round(8))
    assert combined(control, (Host("graph8"), Thin(0.5), Round(8))).levers == (Thin(0.5), Round(8), Host("graph8"))
    assert combined(control, (Host("graph8"), Thin(0.5))) is None
    assert combined(control, ()) == control


@given(POINTS)
def test_changes_and_swaps_differ_in_one_and_in_two_levers(point):
    ones, twos = list(LATTICE.changes(point)), list(LATTICE.swaps(point))
    sizes = [len(group) for group in LATTICE.groups]
    assert len(set(ones)) == len(ones) == sum(sizes)
    assert len(set(twos)) == len(twos) == (sum(sizes) ** 2 - sum(size**2 for size in sizes)) / 2
    for found, distance in ((ones, 1), (twos, 2)):
        assert all(sum(a != b for a, b in zip(point, each, strict=True)) == distance for each in found)


def _score(mean, se=0.001):
    return Score("accuracy", mean, se, 3000)


@given(st.lists(st.tuples(POINTS, st.floats(0.5, 1)), max_size=8), POINTS)
def test_a_chance_is_one_whatever_was_learnt_and_the_control_is_sure(told, point):
    lattice = Lattice(World().scope, CONTROL)
    for each, mean in told:
        assert 0 <= lattice.learn(each, _score(mean)) <= 1
    assert 0 <= lattice.chance(point) <= 1
    assert lattice.chance(lattice.origin) == 1 or lattice.is_hopeless(lattice.origin)


def test_before_anything_is_known_harsher_is_less_likely_to_hold():
    lattice = Lattice(World().scope, CONTROL)
    thin = [lattice.chance((0, 0, 0, at, 0)) for at in range(6)]
    assert thin == sorted(thin, reverse=True)
    assert thin[1] > 0.7
    assert thin[5] < 0.7
    assert lattice.chance((0, 3, 3, 5, 3)) < 0.2


def test_a_lever_that_cost_nothing_is_trusted_and_one_that_cost_the_slack_is_not():
    lattice = Lattice(World().scope, CONTROL)
    before = lattice.chance((0, 0, 0, 2, 0))
    lattice.learn((0, 0, 3, 0, 0), _score(0.95))
    lattice.learn((0, 0, 0, 1, 0), _score(0.942))
    assert lattice.chance((0, 0, 2, 0, 0)) > 0.95
    assert lattice.chance((0, 0, 0, 2, 0)) < min(0.7, before)
    assert lattice.chance((0, 0, 3, 2, 0)) < lattice.chance((0, 0, 3, 1, 0)) < lattice.chance((0, 0, 3, 0, 0))


def test_what_is_harsher_than_what_clearly_broke_the_floor_is_hopeless():
    lattice = Lattice(World().scope, CONTROL)
    assert lattice.learn((0, 0, 0, 4, 0), _score(0.90)) < 1e-6
    assert lattice.learn((0, 1, 0, 0, 0), _score(0.9399, 0.01)) == pytest.approx(0.496, abs=0.001)
    assert lattice.is_hopeless((0, 1, 0, 5, 0))
    assert not lattice.is_hopeless((0, 3, 3, 3, 3))
    assert lattice.chance((0, 0, 0, 5, 0)) <= 0.05
    assert lattice.worth_usd((0, 0, 0, 5, 0), lattice.origin) == 0


def test_a_glimpse_counts_the_fall_from_the_control_on_the_same_data():
    lattice = Lattice(World().scope, CONTROL)
    point = (0, 0, 0, 3, 0)
    before = lattice.chance(point)
    assert lattice.glimpse(point, _score(0.80), _score(0.80)) > 0.9
    assert lattice.chance(point) > before
    assert lattice.glimpse(point, _score(0.70), _score(0.80)) < 0.01
    assert not lattice.is_hopeless(point)


@given(
    st.floats(0, 0.1), st.floats(0, 0.1), st.lists(st.tuples(POINTS, st.floats(), st.floats(0, 1)), max_size=6), POINTS
)
def test_beliefs_never_fail_whatever_they_are_told(slack, noise, told, point):
    beliefs = Beliefs([len(group) for group in LATTICE.groups], slack, noise)
    for each, fall, se in told:
        beliefs.learn(each, fall, se)
    assert 0 <= beliefs.chance(point) <= 1


def test_predictions_are_asked_for_again_once_something_was_learnt():
    usd = [1.0]
    world = World()
    scope = replace(world.scope, predict=lambda plan: replace(world.predict(plan), error=usd[0]))
    lattice = Lattice(scope, CONTROL)
    point = (0, 1, 0, 0, 0)
    before = lattice.bill(point)
    usd[0] = 2.0
    assert lattice.bill(point) is before
    lattice.learn(lattice.origin, CONTROL)
    assert lattice.bill(point).error > 1.5


def test_a_predictor_that_cannot_predict_a_plan_takes_it_out():
    def predict(plan):
        if plan.levers:
            raise BadInputError("The device is unknown.", "calibrate it.")
        return World().predict(plan)

    lattice = Lattice(replace(World().scope, predict=predict), CONTROL)
    assert lattice.bill((0, 1, 0, 0, 0)) is None
    assert lattice.worth_usd((0, 1, 0, 0, 0), lattice.origin) == 0


def test_the_lazy_enumeration_reaches_every_point_once_with_fewer_levers_first():
    points = list(simplest_first(LATTICE))
    assert len(points) == len(set(points)) == math.prod(len(group) + 1 for group in LATTICE.groups) - 1
    pulled = [sum(map(bool, point)) for point in points]
    assert pulled == sorted(pulled)
    assert len(LEVERS) == sum(len(group) for group in LATTICE.groups)
