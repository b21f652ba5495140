"""Every page tells what the store holds, to people and as JSON, and what users wrote stays text."""

import asyncio
import json
import re
from html.parser import HTMLParser

import pytest
from furnished import EVIL, S, dashboard

from pennyweight.store.team import registry
from pennyweight.store.team.alerts import Alert, add
from pennyweight.store.team.opened import opened, reading
from pennyweight.web.pages import PAGES

PATHS = (*(page.path for page in PAGES), "/runs/2", "/registry/move?version=digits@3&to=production")
SHOWN = {
    "/": ("digits", "tenant acme", "86%", "Inputs drift", "prune(0.5) → quantize(8)"),
    "/runs": ("<svg", "prune(0.5)", "as asked", "+"),
    "/ledger": ("digits", "$"),
    "/bills": ("acme", "beta", "digits"),
    "/registry": ("production", "better on new data", "98.2%", "promote digits@3"),
    "/tenants": ("group", "100/s", "$5.00", "only warned"),
    "/live": ("data-plot", "requests per second"),
    "/runs/2": ("prune(0.5)", "Predicted beside measured", "+20%"),
}


def visit(folder, paths, **facts):
    """The replies to some paths."""

    async def visited():
        async with dashboard(folder, **facts) as here:
            return [await here.client.get(path) for path in paths]

    return asyncio.run(visited())


class Controls(HTMLParser):
    """What a keyboard reaches, with its name, and what a script or style would be."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.inline, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        self.ids += [held["id"]] if "id" in held else []
        self.inline += [name for name in held if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in held) else []
        if tag in {"a", "button", "summary", "input", "select"} and held.get("type") != "hidden":
            self.found.append((tag, held, "in a label" if "label" in self.open else ""))
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    def handle_data(self, data):
        if self.found and self.open and self.open[-1] in {"a", "button", "summary"} and data.strip():
            tag, held, name = self.found[-1]
            self.found[-1] = (tag, held, name + data.strip())

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Every page of a furnished house, by path."""
    return dict(zip(PATHS, visit(tmp_path_factory.mktemp("house"), PATHS), strict=True))


@pytest.mark.parametrize("path", SHOWN)
def test_a_page_tells_what_the_store_holds(drawn, path):
    assert drawn[path].status_code == 200
    for text in SHOWN[path]:
        assert text in drawn[path].text, text


@pytest.mark.parametrize("path", PATHS)
def test_no_page_has_a_script_or_a_style_of_its_own_or_asks_another_host(drawn, path):
    text = drawn[path].text
    assert Controls(text).inline == []
    asked = re.findall(r'(?:src|href|action|hx-get|data-stream|data-source)="([^"]*)"', text)
    assert len(asked) > 5
    assert all(each.startswith(("/", "#")) and not each.startswith("//") for each in asked)


@pytest.mark.parametrize("path", PATHS)
def test_every_control_is_a_real_one_with_a_name_and_the_first_leads_to_the_content(drawn, path):
    page = Controls(drawn[path].text)
    assert next(held.get("href") for tag, held, _ in page.found) == "#main"
    for tag, held, name in page.found:
        assert name, (tag, held)
        assert "tabindex" not in held
        assert tag != "a" or held["href"]
    assert page.ids.count("main") == 1
    assert len(page.ids) == len(set(page.ids))
    assert drawn[path].text.count("<h1>") == 1


def test_every_page_is_also_json_that_says_the_same(tmp_path):
    replies = visit(tmp_path, [f"{page.path}.json" for page in PAGES] + ["/runs/2.json"])
    told = dict(zip([*(page.path for page in PAGES), "/runs/2"], replies, strict=True))
    for path, reply in told.items():
        assert reply.status_code == 200, path
        assert reply.headers["content-type"] == "application/json"
        told[path] = json.loads(reply.content)
    assert told["/"]["now"]["requests_hour"] == 600
    assert told["/"]["budgets"][0]["spent_nusd"] == 4_300_000_000
    assert sum(line["requests"] for line in told["/bills"]["lines"]) == 600
    assert told["/bills"]["total_nusd"] == sum(3_000 + number for number in range(600))
    assert told["/registry"]["models"][0]["aliases"] == {"production": 2, "staging": 3}
    assert [each["name"] for each in told["/tenants"]["tenants"]] == ["acme", "beta"]
    assert sum(row["entries"] for row in told["/ledger"]["rows"]) == 4
    assert len(told["/runs"]["jobs"][0]["runs"]) == 4
    assert {line["what"]: line["off"] for line in told["/runs/2"]["lines"]}[
        "one prediction, core time"
    ] == pytest.approx(0.2)


def test_the_front_holds_what_nothing_beats(tmp_path):
    [reply] = visit(tmp_path, ["/runs.json"])
    runs = reply.json()["jobs"][0]["runs"]
    assert {run["plan"] for run in runs if run["on_front"]} == {"as asked", "prune(0.5)", "prune(0.5) → quantize(8)"}


def test_live_numbers_are_those_of_the_usage_table(tmp_path):
    [reply] = visit(tmp_path, ["/live.json?minutes=20"])
    told = reply.json()
    assert round(sum(each["requests_s"] for each in told["steps"]) * told["step_s"]) == 600
    assert round(sum(each["errors_s"] for each in told["steps"]) * told["step_s"]) == 7
    assert round(sum(each["made_s"] for each in told["steps"]) * told["step_s"]) == 600
    assert max(each["slowest_s"] for each in told["steps"]) == pytest.approx(0.0006)
    usd = sum(each["usd_hour"] for each in told["steps"]) * told["step_s"] / 3600
    assert usd == pytest.approx(sum(3_000 + number for number in range(600)) / S)


def test_what_users_wrote_is_text_on_every_page_and_never_a_tag(tmp_path):
    async def visited():
        async with dashboard(tmp_path, why=EVIL) as here:
            with here.engine.begin() as link:
                add(link, Alert("digits", 0, "cost", EVIL, 1.0))
                registry.remark(link, registry.Remark("digits", "refuse", 3), registry.Move(EVIL, "{{ 7 * 7 }}"))
            asked = [*PATHS, f"/registry?model={EVIL}", f"/bills?month={EVIL}", f"/ledger?by={EVIL}", f"/{EVIL}"]
            asked += [f"/runs?job={EVIL}", f"/live?model={EVIL}", f"/registry/move?version={EVIL}&to={EVIL}"]
            return {path: await here.client.get(path) for path in asked}

    replies = asyncio.run(visited())
    assert all(EVIL not in reply.text for reply in replies.values())
    assert "&lt;script&gt;alert(1)" in replies["/"].text
    assert "&lt;script&gt;alert(1)" in replies["/registry"].text
    assert "{{ 7 * 7 }}" in replies["/registry"].text
    assert {reply.status_code for reply in replies.values()} == {200, 400, 404}


@pytest.mark.parametrize(
    "path",
    ["/bills?month=2026-13", "/bills?month=x", "/bills?by=", "/bills?by=secret", "/ledger?by=x", "/runs?days=-1",
     "/runs?predictions=nan", "/live?minutes=inf", "/runs/99", "/registry?model=none",
     "/runs/x", "/nothing", pytest.param("/runs/" + "9" * 6000, id="long")],
)  # fmt: skip
def test_a_wrong_question_is_answered_by_a_sentence_on_the_page_and_in_json(tmp_path, path):
    bare, _, query = path.partition("?")
    page, twin = visit(tmp_path, [path, f"{bare}.json?{query}"])
    assert page.status_code == twin.status_code
    assert page.status_code in {400, 404}
    assert "To the overview" in page.text
    assert twin.json()["error"].endswith(".")


def test_an_empty_store_and_no_ledger_are_said_and_no_file_is_made_by_looking(tmp_path):
    from pennyweight.web.app import Dashboard
    from pennyweight.web.books import Books
    from pennyweight.web.guard import Guard

    async def visited():
        import httpx

        with opened(str(tmp_path / "team.db")) as engine:
            app = Dashboard(Books(engine, tmp_path / "home"), Guard(open_here=True)).app()
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                return [await client.get(page.path) for page in PAGES]

    replies = asyncio.run(visited())
    assert [reply.status_code for reply in replies] == [200] * len(PAGES)
    assert "Nothing serves" in replies[0].text
    assert not (tmp_path / "home").exists()


def test_a_team_on_postgresql_sees_the_same_series(store):
    import time

    from furnished import requests

    from pennyweight.store.team.series import series
    from pennyweight.store.team.tenants import Tenant, add_tenant
    from pennyweight.store.team.usage import record

    now = time.time_ns()
    with opened(store) as engine:
        with engine.begin() as link:
            for name in ("acme", "beta"):
                add_tenant(link, Tenant(name, name))
            record(link, list(requests(now)))
        with reading(engine) as link:
            steps = series(link, now - 900 * S, now + S, 7 * S)
    assert sum(step.requests for step in steps) == 600
    assert sum(step.errors for step in steps) == 7
    assert sum(step.cost_nusd for step in steps) == sum(3_000 + number for number in range(600))
    assert [step.begin_ns for step in steps] == sorted(step.begin_ns for step in steps)
    assert any(step.requests == 0 for step in steps)
