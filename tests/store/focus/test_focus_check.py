"""The validator finds each thing that can be wrong, and says in which row and column."""

import pytest
from billed import fill

from pennyweight.store.focus.check import faults
from pennyweight.store.focus.columns import COLUMNS, MANDATORY, SUBCATEGORIES
from pennyweight.store.focus.exported import HEADS, charges
from pennyweight.store.team.opened import opened, reading


@pytest.fixture
def rows(tmp_path):
    with opened(str(tmp_path / "team.db")) as engine:
        with engine.begin() as link:
            fill(link)
        with reading(engine) as link:
            return list(charges(link, 0, 2**62))


def told(rows, heads=HEADS):
    return [(fault.row, fault.column) for fault in faults(heads, rows)]


def test_the_specification_has_57_columns_of_which_21_are_mandatory():
    assert len(COLUMNS) == 57
    assert len(MANDATORY) == 21
    assert len(SUBCATEGORIES) == 19


@pytest.mark.parametrize("name", MANDATORY)
def test_a_mandatory_column_that_is_missing_is_named(rows, name):
    heads = tuple(each for each in HEADS if each != name)
    left = [{head: row[head] for head in heads} for row in rows]
    assert (0, name) in told(left, heads)


@pytest.mark.parametrize("name", [name for name in HEADS if name in COLUMNS and not COLUMNS[name].empty])
def test_an_empty_value_where_none_may_be_is_named(rows, name):
    rows[1][name] = None
    assert (2, name) in told(rows)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BilledCost", "$3"),
        ("BilledCost", "1,000"),
        ("BilledCost", "+1"),
        ("BilledCost", "1e3"),
        ("BilledCost", "1E+3"),
        ("BilledCost", "NaN"),
        ("BilledCost", "٣"),
        ("ListUnitPrice", "-1"),
        ("ListCost", "12"),
        ("ContractedCost", "12"),
        ("PricingQuantity", "17"),
        ("PricingQuantity", None),
        ("PricingUnit", None),
        ("PricingCategory", None),
        ("PricingCategory", "Cheap"),
        ("SkuId", None),
        ("SkuPriceId", None),
        ("ConsumedQuantity", None),
        ("ConsumedUnit", None),
        ("BillingCurrency", "usd"),
        ("BillingCurrency", "Dollars"),
        ("ChargeCategory", "usage"),
        ("ChargeClass", "Refund"),
        ("ChargeFrequency", "Hourly"),
        ("ChargePeriodStart", "2026-11-03 00:00:00"),
        ("ChargePeriodStart", "2026-11-03T00:00:00+00:00"),
        ("ChargePeriodStart", "2026-02-30T00:00:00Z"),
        ("ChargePeriodEnd", "2026-11-02T00:00:00Z"),
        ("BillingPeriodEnd", "2026-11-01T00:00:00Z"),
        ("ServiceCategory", "Machine Learning"),
        ("ServiceSubcategory", "Block Storage"),
        ("SkuPriceDetails", "[1]"),
        ("SkuPriceDetails", '{"x_A": {"b": 1}}'),
        ("SkuPriceDetails", '{"x_A": 1, "x_A": 2}'),
        ("SkuPriceDetails", '{"Colour": "red"}'),
        ("ServiceName", ""),
        ("ServiceName", "  "),
        ("SubAccountName", "N/A"),
        ("SubAccountName", None),
        ("ResourceType", None),
    ],
)
def test_a_wrong_value_is_found_in_its_row(rows, name, value):
    assert told(rows) == []
    rows[2][name] = value
    found = told(rows)
    # a quantity also breaks the products and units that it is part of; the row is the same
    assert found
    assert {row for row, _ in found} == {3}
    partners = {"PricingQuantity": "ListCost", "ListUnitPrice": "ListUnitPrice", "ServiceCategory": "ServiceCategory"}
    assert (3, name) in found or (3, partners.get(name)) in found


def changed(row, **to):
    return row | to


def test_rules_of_categories_are_kept(rows):
    row = next(row for row in rows if row["SkuMeter"] == "Requests")
    heads = tuple(row)
    bare = dict.fromkeys(("PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory"))
    bare |= dict.fromkeys(("SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails", "ConsumedQuantity", "ConsumedUnit"))
    tax = changed(row, ChargeCategory="Tax", **bare)
    assert told([tax], heads) == []
    assert (1, "PricingQuantity") in told([changed(row, ChargeCategory="Tax")], heads)
    credit = changed(tax, ChargeCategory="Credit", ListCost="1", ContractedCost="2", EffectiveCost="3", BilledCost="4")
    assert told([credit], heads) == [(1, "ListCost"), (1, "ContractedCost"), (1, "EffectiveCost")]
    bought = changed(row, ChargeCategory="Purchase", ConsumedQuantity=None, ConsumedUnit=None)
    assert told([bought], heads) == [(1, "ChargeFrequency")]
    late = changed(row, ChargeClass="Correction", **bare)
    assert told([late], heads) == []


def test_a_price_that_belongs_to_two_things_is_found(rows):
    other = changed(rows[0], SkuId="another")
    assert told([rows[0], other]) == [(2, "SkuPriceId")]


def test_columns_of_ones_own_are_named_and_placed_as_asked(rows):
    plain = [dict(row, Colour=None, x_Hue=None) for row in rows]
    assert told(plain, (*HEADS, "Colour")) == [(0, "Colour")]
    assert told(plain, ("x_Hue", *HEADS))[0] == (0, HEADS[0])
    assert (0, "BilledCost") in told(rows, (*HEADS[:1], *HEADS))
