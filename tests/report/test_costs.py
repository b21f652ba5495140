"""What an estimate and a plan say as plain facts."""

import json

import pytest

from pennyweight.catalog.models import model
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.planning import Limits, plan_train
from pennyweight.layout.plans.training import TrainWork
from pennyweight.report.costs import estimate_facts, layout_words, plan_facts

WORK = TrainWork(model("llama-3-8b"), 1e12)


@pytest.fixture(scope="module")
def planned():
    return plan_facts(plan_train(WORK, on=("h100", "h200")), 4)


def test_the_facts_of_a_plan_hold_the_whole_front_and_few_in_full(planned):
    assert len(planned["front"]) > len(planned["shown"]) == 4
    for each in planned["shown"]:
        named = (each["devices"], each["accelerator"], each["rented"]["spare"])
        way = next(w for w in planned["front"] if (w["devices"], w["accelerator"], w["rented"]["spare"]) == named)
        assert each["usd"]["value"] == pytest.approx(way["usd"])
        assert each["seconds"]["value"] == pytest.approx(way["seconds"])


def test_facts_are_plain_and_survive_json(planned):
    told = estimate_facts(estimate(WORK, "h100", 64))
    assert json.loads(json.dumps(told)) == told
    assert json.loads(json.dumps(planned, default=str))["front"] == planned["front"]
    assert told["rented"]["machines"] * 8 == told["devices"]


def test_what_nobody_sells_has_no_dollars():
    told = estimate_facts(estimate(WORK, "h800", 64))
    assert told["usd"] is None
    assert told["rented"] is None


def test_a_plan_without_a_way_says_why():
    told = plan_facts(plan_train(WORK, Limits(budget_usd=1.0), on=("h100",)), 4)
    assert told["front"] == told["shown"] == []
    assert any("cheapest way of all" in line for line in told["why"])


def test_a_layout_is_said_without_what_is_one(planned):
    layout = planned["shown"][0]["layout"] | {"tp": 4, "pp": 1, "chunks": 2, "recompute": "full", "zero": 0}
    said = layout_words(layout)
    assert "tp 4" in said
    assert "full recompute" in said
    assert "pp" not in said
    assert "zero" not in said
