"""The bill as a FOCUS data set: every row is valid, hours are hours, and the sums are those of the bill."""

from collections import defaultdict
from decimal import Decimal

import pytest
from billed import HOUR, NOV_3, S, fill

from pennyweight.errors import BadInputError
from pennyweight.store.focus import exported
from pennyweight.store.focus.check import faults
from pennyweight.store.focus.columns import MANDATORY
from pennyweight.store.team import idle
from pennyweight.store.team.bills import lines
from pennyweight.store.team.opened import opened, reading

EVER = (0, 2**62)
DAY = (NOV_3, NOV_3 + 24 * HOUR)


def total(rows, column):
    return sum(Decimal(row[column]) for row in rows) * S


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_row_is_valid_in_both_files_and_both_say_the_same(store, tmp_path, ending):
    with opened(store) as engine:
        with engine.begin() as link:
            fill(link)
        with reading(engine) as link:
            shares = idle.allocate(link, 40_000_000, *DAY)
            wanted = list(exported.charges(link, *EVER, shares))
            path = tmp_path / f"out.{ending}"
            assert exported.write(iter(wanted), path) == len(wanted) > 20
    columns, rows = exported.read(path)
    assert set(MANDATORY) <= set(columns)
    assert len(MANDATORY) == 21
    assert rows == wanted
    assert list(map(str, faults(columns, rows))) == []


def test_what_is_billed_is_to_the_nano_dollar_what_was_recorded(store):
    with opened(store) as engine:
        with engine.begin() as link:
            nusd = fill(link)
        with reading(engine) as link:
            rows = list(exported.charges(link, *EVER))
            bill = lines(link, ("tenant",), *EVER)
    assert total(rows, "BilledCost") == nusd - 570
    for line in bill:
        assert total([row for row in rows if row["SubAccountId"] == line.of[0]], "BilledCost") == line.total_nusd


def test_list_cost_is_price_times_quantity_and_not_what_corrections_and_idle_hours_make_of_it(store):
    with opened(store) as engine:
        with engine.begin() as link:
            fill(link)
        with reading(engine) as link:
            shares = idle.allocate(link, 40_000_000, *DAY)
            rows = list(exported.charges(link, *EVER, shares))
    used = [row for row in rows if row["x_ModelVersion"]]
    # six requests of 0.7 s at 7 nano-dollars each second; the last three also cost 1000 each
    assert total(used, "ListCost") == 6 * Decimal("4.9") + 3000
    corrections = [row for row in rows if row["ChargeDescription"].startswith("Correction")]
    assert [(row["ListCost"], Decimal(row["EffectiveCost"]) * S) for row in corrections] == [("0", -500), ("0", -70)]
    spread = [row for row in rows if row["PricingUnit"] == "Hours"]
    assert {row["ListCost"] for row in spread} == {"0"}
    assert total(spread, "EffectiveCost") == sum(share.nusd for share in shares)


def test_rows_are_hours_of_a_tenant_a_version_a_price_and_a_meter(store):
    with opened(store) as engine:
        with engine.begin() as link:
            fill(link, corrections=False)
        with reading(engine) as link:
            rows = list(exported.charges(link, *EVER))
    seen = defaultdict(list)
    for row in rows:
        seen[row["ChargePeriodStart"], row["SubAccountId"], row["x_ModelVersion"]].append(row["SkuMeter"])
        assert row["ChargePeriodStart"][11:] in {"00:00:00Z", "02:00:00Z"}
        assert row["ChargePeriodEnd"][11:] in {"01:00:00Z", "03:00:00Z"}
        assert row["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
        assert row["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert seen["2026-11-03T00:00:00Z", "acme", "1"] == ["Compute"]
    assert seen["2026-11-03T02:00:00Z", "acme", "2"] == ["Requests", "Compute"]
    assert {row["BillingAccountId"] for row in rows} == {"group", "beta"}


def test_a_correction_of_a_month_that_was_over_is_called_one(store):
    with opened(store) as engine:
        with engine.begin() as link:
            fill(link)
        with reading(engine) as link:
            late = [row for row in exported.charges(link, *EVER) if row["ChargeClass"]]
    assert [(row["SubAccountId"], row["BillingPeriodStart"]) for row in late] == [("beta", "2026-12-01T00:00:00Z")]
    assert late[0]["ChargePeriodStart"] == "2026-11-03T12:00:00Z"


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"\.csv or \.parquet"):
        exported.write([], tmp_path / "out.xlsx")
