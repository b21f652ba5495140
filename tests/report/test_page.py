from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pennyweight.core import Basis, Bill, Certificate, Cost, Front, Plan, Run, Score, Trial
from pennyweight.errors import BadInputError
from pennyweight.report.chart import Scale, front_chart
from pennyweight.report.facts import front_facts
from pennyweight.report.page import page, write_page


def run_of(plan, dollars, mean, basis=Basis.MEASURED):
    unit = Cost(device_s=dollars * 1e-6, usd=dollars * 1e-8)
    bill = Bill.of(basis, error=0.05, unit=unit, train=Cost(usd=dollars / 10), serve=Cost(usd=dollars))
    predicted = Bill.of(Basis.PREDICTED, unit=unit, train=Cost(usd=dollars / 9), serve=Cost(usd=dollars * 1.1))
    return Run(plan, bill, Score("accuracy", mean, 0.01, 400), predicted)


@pytest.fixture
def front():
    from pennyweight.backends.null import null_job
    from pennyweight.levers.runtime import Runtime

    control = Plan(null_job())
    found = Front.of(run_of(control, 1.0, 0.98)).add(run_of(control.then(Runtime("openvino")), 0.2, 0.975))
    return found.add(run_of(control.then(Runtime("onnxruntime")), 0.1, 0.97))


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in {"href", "src"}]


def test_the_page_needs_nothing_from_anywhere(front):
    outline = Outline()
    outline.feed(page([front]))
    assert outline.links == []
    assert "script" not in outline.tags
    assert outline.tags.count("circle") == 3


def test_every_run_stands_beside_what_was_predicted_for_it(front):
    body = page([front])
    for run in front.seen:
        assert str(run.plan).replace("→", "→") in body
    assert "off by" in body
    assert "+10%" in body


def test_names_are_escaped(front):
    job = replace(front.control.plan.job, name="<script>alert(1)</script>")
    body = page([Front.of(run_of(Plan(job), 1.0, 0.9))])
    assert "<script>" not in body


def test_the_certificate_tells_its_tests_their_levels_and_how_often_the_split_was_used(front):
    control, run = front.seen[:2]
    trials = (
        Trial(run, run.score, control.score, 0.00042, 0.00047),
        Trial(front.seen[2], run.score, control.score, 0.03, 0.00047),
    )
    floor = control.plan.job.floor
    used = Certificate(run, floor, "exact", 400, 0.00047, held=True, trials=trials, uses=2)
    body = page([replace(front, certificate=used)])
    for words in ("used 2 times before", "for the full 0.045", "<td>0.00042</td>", "<td>0.00047</td><td>yes", "<td>no"):
        assert words in body
    facts = front_facts(replace(front, certificate=used))["certificate"]
    assert (facts["uses"], facts["level"], facts["alpha"]) == (2, 0.00047, pytest.approx(0.05))


def test_facts_are_json(front):
    import json

    facts = json.loads(json.dumps(front_facts(front)))
    assert facts["control"]["is_control"]
    assert len(facts["runs"]) == 3
    assert facts["runs"][2]["times_cheaper_to_serve"] == pytest.approx(10)


def test_a_report_that_cannot_be_written_is_an_error_and_leaves_nothing(front, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for path in (blocked / "report.html", tmp_path, Path("/dev/null")):
        with pytest.raises(BadInputError, match=r"check the path|name of a file"):
            write_page(path, [front])
    assert Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_scale_keeps_its_values_inside_and_its_ticks_round():
    for values, log in (([1, 1000], True), ([0.97, 0.98], False), ([5, 5], False)):
        scale = Scale.over(values, 0, 100, log=log)
        assert all(0 <= scale.at(value) <= 100 for value in values)
        assert all(scale.low <= tick <= scale.high for tick in scale.ticks())


def test_the_chart_draws_the_front_once(front):
    assert front_chart(front_facts(front)).count('class="front"') == 1
