"""Bills told, exported, corrected and reconciled by the commands a person types."""

import csv
import json

import pytest
from processes import call

from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened
from pennyweight.store.team.tenants import Tenant, add_tenant
from pennyweight.store.team.usage import Price, Request, Units, record, set_price

NOV_3 = 1_793_664_000 * 10**9
HOUR = 3600 * 10**9


@pytest.fixture
def place(tmp_path):
    """A store in which two tenants asked on November 3rd and 4th of 2026."""
    with opened(str(tmp_path / "home" / "team.db")) as engine, engine.begin() as link:
        registry.add(link, registry.Version("digits", 0, "0" * 64, ""))
        set_price(link, Price("digits", request_nusd=1_000_000_000))
        for name in ("acme", "beta"):
            add_tenant(link, Tenant(name, "group"))
        times = ((0, "acme"), (1, "acme"), (1, "beta"), (25, "acme"))
        rows = [
            Request(f"r{n}", NOV_3 + h * HOUR, who, "k", "digits", 1, Units(1, 1, 0, 10**9), 200, 10**9)
            for n, (h, who) in enumerate(times)
        ]
        record(link, rows)
    return tmp_path


def told(place, *words):
    code, out, err = call(place, *words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_bill_is_exported_and_every_row_of_it_checked(place, ending):
    facts = told(place, "bill", "--month", "2026-11", "--focus", f"out.{ending}", "--idle-usd-hour", "0.04")
    assert facts["faults"] == 0
    assert facts["rows"] > 4
    assert (place / f"out.{ending}").stat().st_size > 1000


def test_idle_hours_are_lines_of_their_own(place):
    plain = told(place, "bill", "--by", "tenant,model", "--month", "2026-11")
    assert [(line["tenant"], line["total_nusd"]) for line in plain] == [("acme", 3 * 10**9), ("beta", 10**9)]
    lines = told(place, "bill", "--by", "tenant,model", "--month", "2026-11", "--idle-usd-hour", "0.04")
    spread = [line for line in lines if line["idle_nusd"]]
    assert [line for line in lines if not line["idle_nusd"]] == plain
    assert [line["model"] for line in spread] == ["", ""]
    assert {line["tenant"] for line in spread} == {"acme", "beta"}
    code, out, _ = call(place, "bill", "--month", "2026-11", "--idle-usd-hour", "0.04")
    assert code == 0
    assert out.count("idle capacity") == 2


def test_a_correction_is_on_the_bill(place):
    words = ("--usd", "-1.5", "--why", "counted twice", "--day", "2026-11-03")
    code, out, err = call(place, "correct", "acme", "digits", *words)
    assert (code, err) == (0, "")
    assert "-$1.50" in out
    (line,) = (line for line in told(place, "bill", "--by", "tenant,day") if line["day"] == "2026-11-03"
               and line["tenant"] == "acme")  # fmt: skip
    assert (line["usage_nusd"], line["corrected_nusd"]) == (2 * 10**9, -1_500_000_000)
    for words, said in (
        (("correct", "acne", "digits", "--usd", "1", "--why", "x"), "acme"),
        (("correct", "acme", "digit", "--usd", "1", "--why", "x"), "digits"),
        (("correct", "acme", "digits", "--usd", "1", "--why", " "), "say why"),
        (("correct", "acme", "digits", "--usd", "0", "--why", "x"), "other than 0"),
        (("correct", "acme", "digits", "--usd", "1", "--why", "x", "--day", "today"), "2026-11-03"),
    ):
        code, _, err = call(place, *words)
        assert code == 2
        assert said in err


def test_an_invoice_is_reconciled_and_only_written_when_told_to(place):
    with (place / "invoice.csv").open("w", newline="") as file:
        rows = [
            ("tenant", "model", "day", "usd"),
            ("acme", "digits", "2026-11-03", "2"),
            ("acme", "digits", "2026-11-04", "3"),
        ]
        csv.writer(file).writerows(rows)
    found = told(place, "reconcile", "invoice.csv")
    kinds = [(each["tenant"], each["day"], each["kind"], each["nusd"]) for each in found["differences"]]
    assert kinds == [
        ("beta", "2026-11-03", "metered, not billed", -(10**9)),
        ("acme", "2026-11-04", "billed more", 2 * 10**9),
    ]
    assert told(place, "reconcile", "invoice.csv") == found
    assert told(place, "reconcile", "invoice.csv", "--apply")["applied"]
    code, out, _ = call(place, "reconcile", "invoice.csv")
    assert (code, out) == (0, "The invoice and the meter agree.\n")
    assert sum(line["total_nusd"] for line in told(place, "bill")) == 5 * 10**9


def test_what_was_exported_reconciles_with_the_store(place):
    told(place, "bill", "--focus", "out.csv")
    assert told(place, "reconcile", "out.csv")["differences"] == []


def test_a_soft_budget_is_set_and_listed(place):
    told(place, "tenants", "budget", "acme", "5usd/month", "--soft")
    (stands,) = told(place, "tenants", "list")["budgets"]
    assert (stands["hard"], stands["warning"], stands["spent_nusd"]) == (False, "", 0)
    code, out, _ = call(place, "tenants", "list")
    assert code == 0
    assert "(soft)" in out
