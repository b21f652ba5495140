"""The pace of the machine: told by calls that never change."""

import pytest

from pennyweight.cost.pace import pace, usual, yardsticks
from pennyweight.cost.race import Timing, race


def taking(**cpu_s):
    return {name: Timing(value, value, value, value, 7) for name, value in cpu_s.items()}


def test_a_machine_that_takes_twice_as_long_for_everything_has_a_pace_of_two():
    found = taking(control=9.0, interpreter=2e-4, arrays=4e-4, products=6e-4)
    assert pace(found, {"interpreter": 1e-4, "arrays": 2e-4, "products": 3e-4}) == pytest.approx(2)


def test_what_slows_one_kind_of_work_only_counts_in_part():
    found = taking(interpreter=8e-4, arrays=1e-4, products=1e-4)
    assert pace(found, dict.fromkeys(("interpreter", "arrays", "products"), 1e-4)) == pytest.approx(2)


def test_without_calibration_the_pace_is_that_of_the_moment():
    assert pace(taking(control=9.0), {}) == 1


def test_the_yardsticks_are_short_and_all_are_timed():
    standard = usual(0.2)
    assert standard.keys() == yardsticks().keys()
    assert all(1e-6 < each < 0.1 for each in standard.values())
    assert pace(race(yardsticks(), rounds=7), standard) == pytest.approx(1, abs=0.9)
