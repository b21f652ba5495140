import copy
import re
from html.parser import HTMLParser

import pytest

from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError
from pennyweight.layout.plans.estimating import estimate
from pennyweight.layout.plans.planning import Limits, plan_train
from pennyweight.layout.plans.training import TrainWork
from pennyweight.report.costs import estimate_facts, plan_facts
from pennyweight.report.plan_chart import plan_chart
from pennyweight.report.plan_page import page, write_plan
from pennyweight.report.stacks import REST, Bar, stacks, told_apart
from pennyweight.units import money

VOID = {"meta", "br", "link", "img"}
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def planned():
    work = TrainWork(model("llama-3-8b"), 1e11)
    return plan_facts(plan_train(work, Limits(deadline_s=30 * 86400), ["h100", "a100-80gb"]), 5)


@pytest.fixture(scope="module")
def estimated():
    return estimate_facts(estimate(TrainWork(model("llama-3-8b"), 1e11), "h100", 64))


class Node:
    """One element: its tag, attributes, children in order, and the text right inside it."""

    def __init__(self, tag, facts):
        self.tag, self.facts, self.children, self.text = tag, facts, [], ""

    def all(self, *tags):
        found = [each for child in self.children for each in child.all(*tags)]
        return ([self] if not tags or self.tag in tags else []) + found

    def child(self, tag):
        return next((each for each in self.children if each.tag == tag), None)


class Outline(HTMLParser):
    """A page as a tree; a tag that is closed in the wrong order or never is an error."""

    def __init__(self, text):
        super().__init__()
        self.top = Node("page", {})
        self.open = [self.top]
        self.feed(text)
        self.close()
        assert self.open == [self.top]

    def handle_starttag(self, tag, attributes):
        node = Node(tag, dict(attributes))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Node(tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].text += data

    @property
    def tags(self):
        return [each.tag for each in self.top.all()]

    @property
    def words(self):
        return "\n".join(each.text for each in self.top.all())

    def values(self, *names):
        return [each.facts[name] for each in self.top.all() for name in names if name in each.facts]


def pages(planned, estimated):
    return [page(planned), page(estimated)]


def charts(text):
    return Outline(text).top.all("svg")


def test_a_page_is_whole_and_needs_nothing_from_anywhere(planned, estimated):
    for text in pages(planned, estimated):
        outline = Outline(text)
        assert outline.values("href", "src", "action", "xlink:href") == []
        assert not {"script", "iframe", "object", "link"} & set(outline.tags)
        assert not re.search(r"url\(|@import", text)
        assert "default-src 'none'" in text
        assert "prefers-color-scheme: dark" in text


def test_every_chart_has_a_title_a_description_and_a_table_beside_it(planned, estimated):
    for text, count in zip(pages(planned, estimated), (3, 2), strict=True):
        outline = Outline(text)
        assert outline.tags.count("svg") == outline.tags.count("figure") == outline.tags.count("details") == count
        ids = outline.values("id")
        assert len(set(ids)) == len(ids) == 2 * count
        assert sorted(" ".join(outline.values("aria-labelledby")).split()) == sorted(ids)
        for chart in charts(text):
            assert [each.tag for each in chart.children[:2]] == ["title", "desc"]
            assert all(each.text for each in chart.children[:2])


def test_what_the_tables_say_is_what_was_predicted(planned):
    words = " ".join(Outline(page(planned)).words.split())
    for each in planned["shown"]:
        assert money(each["usd"]["value"]) in words
        assert f"{money(each['usd']['low'])} to {money(each['usd']['high'])}" in words
        assert each["rented"]["instance"] in words
        assert each["rented"]["source"] in words
        assert all(line in words for line in each["said"])
    for each in planned["front"]:
        assert money(each["usd"]) in words


@pytest.mark.parametrize("field", ["model", "cloud", "instance", "region", "source", "accelerator", "said"])
def test_no_name_becomes_a_tag(field, planned, estimated):
    for facts in map(copy.deepcopy, (planned, estimated)):
        facts["work"]["model"] = HOSTILE if field == "model" else "plain"
        for each in [*facts.get("front", []), *facts.get("shown", [facts])]:
            if field in each:
                each[field] = [HOSTILE] if field == "said" else HOSTILE
            elif field in each["rented"]:
                each["rented"][field] = HOSTILE
        text = page(facts)
        outline = Outline(text)
        assert "script" not in outline.tags
        assert HOSTILE in outline.words
        assert len(charts(text)) >= 2


def test_every_way_is_a_dot_and_those_of_the_table_have_numbers_and_intervals(planned):
    [chart] = charts(plan_chart(planned))
    groups = [each for each in chart.children if each.tag == "g"]
    assert len(groups) == len(planned["front"]) > len(planned["shown"])
    marks = [each.child("text").text for each in groups if each.child("text")]
    assert marks == [str(number) for number in range(1, len(planned["shown"]) + 1)]
    assert sum(each.child("path") is not None for each in groups) == len(marks)
    for each in chart.all("circle"):
        assert 0 <= float(each.facts["cx"]) <= 760
        assert 0 <= float(each.facts["cy"]) <= 400


def test_axes_are_logarithmic_where_the_ends_are_far_apart(planned):
    one = copy.deepcopy(planned)
    one["front"], one["shown"] = one["front"][:1], one["shown"][:1]
    assert ">days; dollars upwards<" in plan_chart(one)
    far = copy.deepcopy(one)
    far["front"].append(far["front"][0] | {"seconds": far["front"][0]["seconds"] / 100, "devices": 1})
    assert ">days, logarithmic; dollars upwards<" in plan_chart(far)
    far["front"][1]["usd"] *= 100
    assert ">days, logarithmic; dollars upwards, logarithmic<" in plan_chart(far)


def test_a_deadline_is_drawn_where_it_matters(planned):
    reached = copy.deepcopy(planned)
    reached["limits"]["deadline_s"] = planned["front"][0]["seconds"] * 0.9
    assert plan_chart(reached).count(">deadline<") == 1
    free = copy.deepcopy(planned)
    free["limits"] |= {"deadline_s": None, "budget_usd": float("inf")}
    assert "deadline" not in plan_chart(free)
    assert "budget" not in plan_chart(free)


def test_bars_are_as_long_as_their_parts_and_shares_as_each_other():
    bars = [Bar("a", {"x": 3.0, "y": 1.0}), Bar("b", {"x": 1.0, "y": 1.0})]
    for shares, longer in ((False, 2.0), (True, 1.0)):
        [chart] = charts(stacks(bars, str, "name", "title", shares=shares))
        widths = [float(each.facts["width"]) for each in chart.all("rect") if each.child("title")]
        assert (widths[0] + widths[1]) / (widths[2] + widths[3]) == pytest.approx(longer, rel=1e-3)
        assert widths[0] / widths[1] == pytest.approx(3, rel=1e-3)


def test_parts_too_small_to_see_are_one_colour_and_add_up():
    bar = Bar("a", {f"part {number}": 1.0 / 3**number for number in range(12)})
    kept = told_apart([bar])
    assert kept[-1] == REST
    assert len(kept) <= 9
    [chart] = charts(stacks([bar], str, "name", "title"))
    widths = [float(each.facts["width"]) for each in chart.all("rect") if each.child("title")]
    assert sum(widths) == pytest.approx(490, abs=1)


def test_room_and_the_upper_end_are_drawn_for_memory_only(estimated):
    step, memory = charts(page(estimated))
    assert step.all("path") == []
    assert sorted(each.facts["class"] for each in memory.all("path")) == ["floor", "whisker"]


def test_what_may_not_fit_and_what_nobody_sells_is_said(estimated):
    facts = copy.deepcopy(estimated)
    assert "may not fit" not in page(facts)
    facts |= {"fits": False, "usd": None, "rented": None}
    text = page(facts)
    assert "It may not fit" in text
    assert "Nobody in the catalog sells" in text
    assert "Where the prices are from" not in text


def test_a_plan_without_a_way_says_why(planned):
    facts = copy.deepcopy(planned) | {"front": [], "shown": [], "why": ["The fastest takes 3 days."]}
    outline = Outline(page(facts))
    assert "The fastest takes 3 days." in outline.words
    assert "svg" not in outline.tags


def test_a_page_that_cannot_be_written_is_an_error(estimated, tmp_path):
    write_plan(estimated, tmp_path / "plan.html")
    assert (tmp_path / "plan.html").read_text().startswith("<!doctype html>")
    with pytest.raises(BadInputError, match=r"check the path|name of a file"):
        write_plan(estimated, tmp_path)
