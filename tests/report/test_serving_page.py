"""The report of a served model: whole, light, and saying what the plan says."""

import copy
import re

import pytest
from test_plan_page import HOSTILE, Outline, charts

from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError
from pennyweight.layout.deployments.choices import Wanted
from pennyweight.layout.deployments.plan import Demand, plan_serve
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.serving.objectives import Slo
from pennyweight.report.serving_costs import serving_facts
from pennyweight.report.serving_page import serving_page, write_serving
from pennyweight.units import money, usd


def planned(slo):
    demand = Demand.at_rate(50, 800, 100)
    wanted = Wanted(model("llama-3-8b"), 800, 100, ("vllm",))
    return serving_facts(plan_serve(wanted, demand, Slo.read(slo), Market.open(["h100", "l40s"])), 6)


@pytest.fixture(scope="module")
def facts():
    return planned("ttft_p99=2s,tpot=20ms")


def test_the_page_is_whole_light_and_needs_nothing_from_anywhere(facts):
    text = serving_page(facts)
    outline = Outline(text)
    assert outline.values("href", "src", "action", "xlink:href") == []
    assert not {"script", "iframe", "object", "link"} & set(outline.tags)
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    assert len(text) < 60_000


def test_front_limits_and_costs_are_drawn_with_titles(facts):
    drawn = charts(serving_page(facts))
    titles = [each.child("title").text for each in drawn]
    assert [title.split()[0] for title in titles] == ["Dollars", "What", "What"]
    assert all(each.child("desc").text for each in drawn)
    front, limits, _ = drawn
    assert sum(each.tag == "g" for each in front.children) == len(facts["front"])
    assert len(limits.all("rect")) == 2 * len(facts["front"])
    assert "promised" in {each.text for each in limits.all("text")}
    for each in front.all("circle"):
        assert 0 <= float(each.facts["cx"]) <= 760
        assert 0 <= float(each.facts["cy"]) <= 400


def test_the_tables_say_what_was_planned(facts):
    words = " ".join(Outline(serving_page(facts)).words.split())
    for way in facts["front"]:
        assert f"{usd(way['usd_million']['low'])} to {usd(way['usd_million']['high'])}" in words
        assert money(way["usd_month"]["value"]) in words
        assert way["machines"]["instance"] in words
        for part, dollars in way["usd_hour_by"].items():
            assert not dollars or part in words
    assert all(line in words for line in facts["said"])


@pytest.mark.parametrize("field", ["model", "cloud", "instance", "region", "source", "accelerator", "said", "outside"])
def test_no_name_becomes_a_tag_of_a_served_page(field, facts):
    hostile = copy.deepcopy(facts)
    if field in {"model", "said"}:
        hostile[field] = HOSTILE if field == "model" else [HOSTILE]
    for way in hostile["front"]:
        (way if field in way else way["machines"])[field] = HOSTILE
    outline = Outline(serving_page(hostile))
    assert "script" not in outline.tags
    assert HOSTILE in outline.words


def test_a_plan_with_nothing_in_it_says_why():
    nothing = planned("tpot=0.1ms")
    text = serving_page(nothing)
    assert not charts(text)
    assert "however many replicas" in Outline(text).words


def test_a_page_is_written_or_nothing(facts, tmp_path):
    write_serving(facts, tmp_path / "serve.html")
    assert (tmp_path / "serve.html").read_text().startswith("<!doctype html>")
    (tmp_path / "full").mkdir()
    with pytest.raises(BadInputError):
        write_serving(facts, tmp_path / "full")


def test_ways_of_two_pools_are_ringed_and_told():
    demand = Demand.at_rate(20, 4000, 200)
    wanted = Wanted(model("llama-3-8b"), 4000, 200, ("vllm",), ("fp8",), pools="disaggregated")
    plan = plan_serve(wanted, demand, Slo.read("ttft=1s,tpot=20ms"), Market.open(["h100", "l40s", "a100-80gb"]))
    facts = serving_facts(plan, 9)
    text = serving_page(facts)
    front, *_ = charts(text)
    groups = [each for each in front.children if each.tag == "g"]
    assert len(groups) == len(facts["front"]) > 1
    assert all("pair" in each.facts["class"] for each in groups)
    words = " ".join(Outline(text).words.split())
    assert "One pool reads prompts and another answers" in words
    for way in facts["front"]:
        assert f"prompts are read by {way['reads']['replicas']}" in words
        if way["reads"]["machines"]:
            assert way["reads"]["machines"]["instance"] in words
