"""What lies outside the measured rows is said, with the nearest of them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pennyweight.cost.learn.nearest import Nearest
from pennyweight.errors import BadInputError, CorruptError

GRID = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), axis=-1).reshape(-1, 2)
SMALL = st.floats(-100, 100).map(lambda value: round(value, 3))


@given(arrays(np.float64, (9, 3), elements=SMALL), arrays(np.float64, (4, 3), elements=SMALL))
def test_the_nearest_is_the_one_that_brute_force_finds(rows, asked):
    known = Nearest.of(rows)
    distance, index = known.at(asked)
    apart = np.linalg.norm((asked[:, None] - rows) / known.spread, axis=2)
    assert distance == pytest.approx(apart.min(axis=1), abs=1e-5)
    assert np.take_along_axis(apart, index[:, None], axis=1)[:, 0] == pytest.approx(distance, abs=1e-9)


def test_among_measured_rows_nothing_is_said_and_far_away_the_nearest_is_named():
    known = Nearest.of(GRID, [f"run {at}" for at in range(len(GRID))])
    inside, outside = known.outside([[4.5, 4.5], [30.0, 9.0]])
    assert not inside
    assert "run 99" in outside
    assert "times as far as usual" in outside


def test_trust_falls_and_difficulty_rises_with_the_distance():
    known = Nearest.of(GRID)
    places = np.array([[4.0, 4.0], [11.0, 4.0], [14.0, 4.0], [100.0, 4.0]])
    trust, hard = known.trust(places), known.difficulty(known.at(places)[0])
    assert trust[0] == hard[0] == 1.0
    assert (np.diff(trust) < 0).all()
    assert (np.diff(hard) >= 0).all()
    assert trust[-1] < 1e-6
    assert hard[-1] == 4.0


def test_left_out_distances_reach_to_other_groups_alone():
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    known = Nearest.of(x, groups=["a", "a", "b", "b"])
    assert known.left_out(["a", "a", "b", "b"]) * known.spread == pytest.approx([10.0, 9.0, 9.0, 10.0])
    assert known.left_out() * known.spread == pytest.approx([1.0, 1.0, 1.0, 1.0])
    assert np.isinf(known.left_out(["a"] * 4)).all()


def test_repeated_measurements_of_one_place_do_not_shrink_what_is_usual():
    once, often = Nearest.of(GRID), Nearest.of(np.repeat(GRID, 3, axis=0))
    assert often.limit == pytest.approx(once.limit)


def test_a_column_that_never_varied_still_tells_rows_apart():
    x = np.column_stack([np.arange(20.0), np.zeros(20)])
    assert not Nearest.of(x).outside([[3.0, 0.0]])[0]
    assert Nearest.of(x).outside([[3.0, 1.0]])[0]


def test_many_questions_are_answered_in_parts_alike():
    known = Nearest.of(np.random.default_rng(0).normal(size=(3000, 2)))
    asked = np.random.default_rng(1).normal(size=(2000, 2))
    whole, single = known.at(asked)[1], [known.at(row[None])[1][0] for row in asked[::97]]
    assert whole[::97].tolist() == single


@pytest.mark.parametrize("x", [np.zeros((0, 2)), np.zeros(3), [[np.nan, 1.0]]])
def test_rows_without_a_place_are_refused(x):
    with pytest.raises(BadInputError):
        Nearest.of(x)


def test_names_and_coordinates_must_fit():
    with pytest.raises(BadInputError, match="1 names for 100 rows"):
        Nearest.of(GRID, ["one"])
    with pytest.raises(BadInputError, match="2 coordinates"):
        Nearest.of(GRID).at([[1.0]])


def test_what_was_seen_survives_json_and_damage_is_said():
    known = Nearest.of(GRID)
    again = Nearest.from_dict(json.loads(json.dumps(known.to_dict())))
    asked = GRID * 1.7 - 3
    assert again.outside(asked).tolist() == known.outside(asked).tolist()
    with pytest.raises(CorruptError):
        Nearest.from_dict({"rows": [[1.0]]})
