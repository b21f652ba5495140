import math
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.core import Basis, Bill, Cost, Phase
from pennyweight.errors import BadInputError

amounts = st.floats(min_value=0, max_value=1e9)
costs = st.builds(Cost, amounts, amounts, amounts, amounts)
lines = st.fixed_dictionaries({}, optional={phase.value: costs for phase in Phase})
bills = st.builds(
    lambda each, error, unit: Bill.of(Basis.MEASURED, error=error, unit=unit, **each),
    lines,
    st.floats(min_value=0, max_value=2),
    costs,
)


def close(left: Cost, right: Cost) -> bool:
    pairs = ((getattr(left, name), getattr(right, name)) for name in ("device_s", "wall_s", "joule", "usd"))
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in pairs)


@given(costs, costs, costs)
def test_doing_things_in_a_row_adds_everything_in_any_grouping(a, b, c):
    assert close((a + b) + c, a + (b + c))
    assert close(a + b, b + a)
    assert (a + b).wall_s == a.wall_s + b.wall_s


@given(costs, costs, costs)
def test_doing_things_at_once_adds_everything_but_the_clock(a, b, c):
    assert (a | b).wall_s == max(a.wall_s, b.wall_s)
    assert (a | b).device_s == a.device_s + b.device_s
    assert close((a | b) | c, a | (b | c))


@given(costs)
def test_nothing_more_costs_nothing_more(cost):
    assert cost + Cost() == cost
    assert cost | Cost() == cost
    assert cost * 0 == Cost()


@given(costs, st.integers(min_value=1, max_value=20))
def test_doing_it_again_is_adding_it_that_often(cost, times):
    assert close(cost * times, sum((cost for _ in range(times)), Cost()))
    assert cost * times == times * cost


@given(lines)
def test_the_total_of_a_bill_is_the_sum_of_its_lines_in_phase_order(each):
    bill = Bill.of(Basis.PREDICTED, **each)
    assert [phase for phase, _ in bill.lines] == [phase for phase in Phase if phase.value in each]
    assert bill.usd == pytest.approx(sum(cost.usd for cost in each.values()))
    assert all(bill.line(Phase(name)) == cost for name, cost in each.items())


@given(bills, bills)
def test_adding_bills_adds_their_lines_and_weighs_their_errors(one, other):
    both = one + other
    assert both.usd == pytest.approx(one.usd + other.usd)
    assert close(both.line(Phase.SERVE), one.line(Phase.SERVE) + other.line(Phase.SERVE))
    assert both.unit == one.unit + other.unit
    low, high = sorted((one.error, other.error))
    assert low * (1 - 1e-9) <= both.error <= high * (1 + 1e-9) + 1e-12


@given(bills, bills)
def test_bills_are_ordered_by_dollars(one, other):
    assert (one < other) == (one.usd < other.usd)
    assert (one <= other) == (one.usd <= other.usd)


def test_a_missing_line_costs_nothing():
    assert Bill(Basis.MEASURED).line(Phase.FIND) == Cost()
    assert Bill(Basis.MEASURED).usd == 0


def test_an_unknown_phase_is_refused_with_the_known_ones():
    with pytest.raises(BadInputError, match="find, train, compress, serve, store"):
        Bill.of(Basis.MEASURED, polish=Cost())


@pytest.mark.parametrize("act", [operator.add, operator.lt, operator.le])
def test_predicted_beside_measured_is_refused_in_every_way(act):
    with pytest.raises(BadInputError, match="cannot be compared or added"):
        act(Bill.of(Basis.PREDICTED, serve=Cost(usd=1)), Bill.of(Basis.MEASURED, serve=Cost(usd=1)))


@given(bills, bills)
def test_a_saving_is_never_expected_to_be_less_than_the_gap_or_than_nothing(one, other):
    saving = one.expected_saving_usd(other)
    assert saving >= max(0.0, one.usd - other.usd) * (1 - 1e-9) - 1e-6
    assert one.expected_saving_usd(one) >= 0


def test_with_certain_bills_the_saving_expected_is_the_gap():
    dear, cheap = (Bill.of(Basis.MEASURED, serve=Cost(usd=usd)) for usd in (5.0, 3.0))
    assert dear.expected_saving_usd(cheap) == 2.0
    assert cheap.expected_saving_usd(dear) == 0.0


def test_uncertainty_alone_makes_a_saving_possible():
    sure, unsure = (Bill.of(Basis.PREDICTED, error=error, serve=Cost(usd=1.0)) for error in (0.0, 0.5))
    # Two equal totals of which one has a 95% half-width of 0.5: E[max(0, x)] = sd / sqrt(2 pi).
    assert sure.expected_saving_usd(unsure) == pytest.approx(0.5 / 1.959964 / math.sqrt(2 * math.pi))
