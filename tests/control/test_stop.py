"""Budgets that bind, and when a search is not worth going on."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.control.stop import Budget, Prospect, worth
from pennyweight.core import Basis, Bill, Cost, Limits
from pennyweight.errors import BadInputError, OverBudgetError

MONEY = st.floats(0, 1e6)
COSTS = st.builds(Cost, MONEY, MONEY, MONEY, MONEY)
SOME = st.none() | st.floats(1e-6, 1e6)
LIMITS = st.builds(Limits, usd=SOME, wall_s=SOME, trials=st.none() | st.integers(1, 50))


def _bill(usd, error=0.0, basis=Basis.PREDICTED):
    return Bill.of(basis, error=error, serve=Cost(usd=usd))


def _prospect(usd, chance=1.0, effort_usd=0.0, error=0.0):
    return Prospect(_bill(usd, error), chance, Cost(usd=effort_usd))


@given(LIMITS, st.lists(COSTS, max_size=30))
def test_trials_that_are_allowed_never_exceed_any_limit(limits, costs):
    budget = Budget(limits)
    for cost in costs:
        if budget.allows(cost):
            budget = budget.spend(cost)
    assert limits.usd is None or budget.spent.usd <= limits.usd * (1 + 1e-9)
    assert limits.wall_s is None or budget.spent.wall_s <= limits.wall_s * (1 + 1e-9)
    assert limits.trials is None or budget.trials <= limits.trials


@given(LIMITS, st.lists(COSTS, max_size=8), COSTS)
def test_what_is_left_only_shrinks_and_is_never_negative(limits, costs, last):
    budget = Budget(limits)
    for cost in costs:
        budget = budget.spend(cost)
    before, after = budget.left(), budget.spend(last).left()
    for name in ("usd", "wall_s", "trials"):
        assert getattr(before, name) >= getattr(after, name) >= 0


def test_without_limits_everything_is_allowed():
    budget = Budget(Limits()).spend(Cost(usd=1e9, wall_s=1e9), trials=10**6)
    assert budget.left().usd == budget.left().wall_s == budget.left().trials == math.inf
    assert budget.allows(Cost(usd=1e12, wall_s=1e12))


@pytest.mark.parametrize(
    ("limits", "spent", "next_one", "says"),
    [
        (Limits(usd=1.0), Cost(usd=0.75), Cost(usd=0.5), r"\$0.5000, \$0.2500 of \$1.00 is left"),
        (Limits(wall_s=60.0), Cost(wall_s=50.0), Cost(wall_s=20.0), "take 20 s, 10 s of 1 min 0 s is left"),
        (Limits(trials=1), Cost(), Cost(), "All 1 trials are used"),
        (Limits(usd=1.0), Cost(usd=1.0), Cost(), r"\$0.00 of \$1.00 is left"),
        (Limits(wall_s=1.0), Cost(wall_s=2.0), Cost(), "0 s of 1 s is left"),
    ],
)
def test_a_limit_that_would_break_is_named_with_what_is_left(limits, spent, next_one, says):
    verdict = Budget(limits).spend(spent).allows(next_one)
    assert not verdict
    assert re.search(says, verdict.reason)


def test_a_budget_too_small_for_the_control_is_said_at_the_start():
    with pytest.raises(OverBudgetError, match="too small for even the control") as error:
        Budget.afford(Limits(usd=0.01), Cost(usd=0.5, wall_s=90))
    assert "$0.5000 and 1 min 30 s" in error.value.fix
    with pytest.raises(OverBudgetError, match="take 1 min 30 s"):
        Budget.afford(Limits(wall_s=60.0), Cost(usd=0.5, wall_s=90))
    assert Budget.afford(Limits(usd=1.0), Cost(usd=0.5)).trials == 0


def test_a_trial_that_saves_more_than_it_costs_is_worth_it_and_one_that_does_not_is_not():
    verdict = worth(_bill(100), [_prospect(50, 0.5, effort_usd=20)])
    assert verdict
    assert "expected to save $25.00 ($50.00, if the floor holds: 50% likely)" in verdict.reason
    verdict = worth(_bill(100), [_prospect(50, 0.5, effort_usd=26)])
    assert not verdict
    assert "to cost $26.00 to try" in verdict.reason
    assert not worth(_bill(100), [_prospect(120)])
    assert not worth(_bill(100), [])
    assert "No plan is left" in worth(_bill(100), []).reason


def test_the_best_of_all_that_is_left_decides():
    assert worth(_bill(100), [_prospect(99, 1, 5), _prospect(10, 0.9, 5), _prospect(1, 0.01, 50)])


@given(st.floats(1, 1e3), st.floats(0, 1e3), st.floats(0, 1), st.floats(0, 1e3), st.floats(0, 1))
def test_it_goes_on_exactly_if_the_expected_gain_exceeds_the_effort(best, usd, chance, effort_usd, error):
    prospect = _prospect(usd, chance, effort_usd, error)
    gain = chance * _bill(best).expected_saving_usd(prospect.bill)
    assert bool(worth(_bill(best), [prospect])) == (gain > effort_usd)
    assert gain >= chance * max(0.0, best - usd) * (1 - 1e-9) - 1e-9


def test_an_uncertain_prediction_may_be_worth_a_look():
    same, unsure = _prospect(100, 1, 1), _prospect(100, 1, 1, error=0.2)
    assert not worth(_bill(100), [same])
    assert worth(_bill(100), [unsure])


def test_a_measured_bill_is_not_weighed_against_a_predicted_one():
    with pytest.raises(BadInputError, match="cannot be compared"):
        worth(_bill(100, basis=Basis.MEASURED), [_prospect(50)])
