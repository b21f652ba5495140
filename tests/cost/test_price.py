import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.catalog import load_prices
from pennyweight.core import Basis, Cost, Demand, Phase
from pennyweight.cost.price import Parts, PriceSheet, bill, measured_bill, price, storage

prices = st.floats(min_value=0, max_value=10)
sheets = st.builds(PriceSheet, st.just("x"), prices, prices, prices, prices, st.just("2026-01-01"), st.just("test"))
amounts = st.floats(min_value=0, max_value=1e6)
costs = st.builds(Cost, amounts, amounts, amounts)
bytes_ = st.floats(min_value=0, max_value=1e12)
demands = st.builds(Demand, st.floats(min_value=0, max_value=1e9), st.floats(min_value=0.1, max_value=3650))
parts = st.builds(Parts, costs, costs, costs, bytes_, st.none() | bytes_, bytes_)


@given(costs, bytes_, sheets)
def test_pricing_changes_nothing_but_dollars(cost, memory_byte, sheet):
    priced = price(cost, memory_byte, sheet)
    assert (priced.device_s, priced.wall_s, priced.joule) == (cost.device_s, cost.wall_s, cost.joule)
    assert priced.usd >= 0


@given(costs, costs, bytes_, sheets)
def test_the_price_of_two_things_is_the_sum_of_their_prices(a, b, memory_byte, sheet):
    together = price(a + b, memory_byte, sheet).usd
    assert together == pytest.approx(price(a, memory_byte, sheet).usd + price(b, memory_byte, sheet).usd, abs=1e-9)


def test_one_core_hour_with_one_gigabyte_and_one_kilowatt_hour_costs_what_the_sheet_says():
    sheet = PriceSheet("x", 0.04, 0.003, 0.1, 0.2, "2026-01-01", "test")
    cost = Cost(device_s=3600, wall_s=3600, joule=3.6e6)
    assert price(cost, 1e9, sheet).usd == pytest.approx(0.04 + 0.003 + 0.2)
    assert price(cost, 0, sheet).usd == pytest.approx(0.04 + 0.2)


def test_storage_is_by_the_month_of_thirty_days():
    sheet = PriceSheet("x", 0, 0, 0.08, 0, "2026-01-01", "test")
    assert storage(5e9, 90, sheet).usd == pytest.approx(5 * 0.08 * 3)


@given(demands, parts, sheets)
def test_a_bill_has_every_phase_of_the_horizon_and_serves_the_whole_demand(demand, given_parts, sheet):
    found = measured_bill(demand, given_parts, sheet)
    assert found.basis is Basis.MEASURED
    assert [phase for phase, _ in found.lines] == [Phase.TRAIN, Phase.COMPRESS, Phase.SERVE, Phase.STORE]
    assert found.line(Phase.SERVE).usd == pytest.approx(found.unit.usd * demand.predictions)
    assert found.line(Phase.STORE).usd == pytest.approx(storage(given_parts.disk_byte, demand.days, sheet).usd)
    assert found.line(Phase.STORE).device_s == 0
    assert math.isfinite(found.usd)


@given(demands, parts, sheets)
def test_predicted_and_measured_bills_of_equal_parts_have_equal_dollars(demand, given_parts, sheet):
    measured = measured_bill(demand, given_parts, sheet)
    assert bill(Basis.PREDICTED, demand, given_parts, sheet).lines == measured.lines


@given(parts, sheets, st.floats(min_value=1, max_value=100))
def test_more_demand_never_costs_less(given_parts, sheet, more):
    few, many = (measured_bill(Demand(n), given_parts, sheet) for n in (1e3, 1e3 * more))
    assert few.usd <= many.usd * (1 + 1e-12)
    assert few.unit == many.unit


def test_memory_while_training_is_charged_apart_from_memory_while_serving():
    sheet = PriceSheet("x", 0, 1.0, 0, 0, "2026-01-01", "test")
    found = measured_bill(Demand(0), Parts(Cost(), Cost(device_s=3600), memory_byte=1e9, train_byte=3e9), sheet)
    assert found.line(Phase.TRAIN).usd == pytest.approx(3.0)


def test_the_local_sheet_splits_a_rented_machine_into_core_and_memory():
    sheet = load_prices()
    gib = 2**30 / 1e9
    assert 2 * sheet.core_hour_usd + 8 * gib * sheet.gb_hour_usd == pytest.approx(0.1008, rel=1e-3)
    assert 2 * sheet.core_hour_usd + 4 * gib * sheet.gb_hour_usd == pytest.approx(0.08925, rel=1e-3)
