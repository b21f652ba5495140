"""What a look at the certify split leaves of the level, summed over everything that could have happened."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Floor, Look
from pennyweight.core.look import SPENT, left

FLOOR = Floor("accuracy", 0.01)
LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def a_look(length, passed):
    """A look at level 1: `passed` runs passed, and the next one failed if there was one."""
    p_values = (0.5,) * passed + (2.0,) * (passed < length)
    runs = tuple(f"run {number}" for number in range(length))
    return Look(1, FLOOR, "control", runs, (), 1.0, p_values)


def most_risk(lengths, looks=()):
    """The largest chance of a false certificate, if every look tests so many runs, as a share of the level.

    The worst case at each look is either that a run in it truly breaks the floor, and then the chance that it passes is
    the level at most and nothing false is left to come where all pass; or that none does.
    """
    if not lengths:
        return 0.0
    now, *later = lengths
    spent = SPENT * left(looks)
    children = [most_risk(later, (*looks, a_look(now, passed))) for passed in range(now + 1)]
    return max(spent + math.fsum(children[:-1]), math.fsum(children))


@given(LENGTHS)
def test_all_looks_together_risk_no_more_than_the_level(lengths):
    assert most_risk(lengths) <= 1 + 1e-12


def test_a_level_spent_in_full_each_time_would_risk_more():
    assert most_risk([1, 1]) <= 1 < 2 * SPENT


def test_the_first_look_has_nearly_all_of_it():
    assert left([]) == 1
    assert pytest.approx(0.9) == SPENT


def test_a_look_in_which_all_passed_costs_little_and_one_that_failed_nearly_all():
    assert left([a_look(4, 4)]) == pytest.approx(0.9 + 0.1 / 5)
    assert left([a_look(4, 3)]) == left([a_look(4, 0)]) == pytest.approx(0.1 / 5)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), max_size=6))
def test_it_only_ever_gets_less(found):
    looks = [a_look(length, min(length, passed)) for length, passed in found]
    shares = [left(looks[:k]) for k in range(len(looks) + 1)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0
