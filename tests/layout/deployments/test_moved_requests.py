"""Requests that one's own deployment served move the plans of that engine on that accelerator, and no others."""

import pytest

from pennyweight.catalog.models import model
from pennyweight.layout.deployments.choices import Wanted
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.plan import Demand, plan_serve
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.scoring.calibrating import Calibration, learn_own
from pennyweight.layout.serving.objectives import Slo

HEAD = "model,accelerator,engine,concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s,tp,precision\n"
ROWS = "\n".join(
    f"llama-3-8b,h100,vllm,{users},800,100,{ttft},{tpot},1,bf16"
    for users, ttft, tpot in ((8, 0.09, 0.0120), (16, 0.12, 0.0130), (32, 0.17, 0.0150), (64, 0.30, 0.0190))
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "served.csv").write_text(HEAD + ROWS)
    lesson = learn_own(folder / "served.csv")
    Calibration({lesson.kind: lesson.taught}).save(folder / "mine.toml")
    return Calibration.load(folder / "mine.toml")


def planned(calibration, on=("h100",), engines=("vllm",)):
    demand = Demand.at_rate(100, 800, 100)
    wanted = Wanted(model("llama-3-8b"), 800, 100, engines, ("bf16",))
    return plan_serve(wanted, demand, Slo.read("ttft=1s,tpot=60ms"), Market.open(on), calibration)


def width(ends):
    return ends[2] / ends[1]


def test_the_seconds_of_a_stack_that_was_served_move_and_are_surer(mine):
    shipped, moved = planned(None), planned(mine)
    assert shipped.front[-1].tpot_s[0] != pytest.approx(moved.front[-1].tpot_s[0], rel=0.01)
    assert width(moved.cheapest.tpot_s) < 0.8 * width(shipped.cheapest.tpot_s)
    assert any("4 served rows of your own (served.csv), vllm on h100, moved" in line for line in moved.said)
    assert not any("of your own" in line for line in shipped.said)


@pytest.mark.parametrize(("on", "engines"), [(("l40s",), ("vllm",)), (("h100",), ("sglang",))])
def test_another_accelerator_or_engine_does_not_move(mine, on, engines):
    shipped, moved = planned(None, on, engines), planned(mine, on, engines)
    assert [each.tpot_s for each in moved.front] == [each.tpot_s for each in shipped.front]
    assert [each.paid for each in moved.front] == [each.paid for each in shipped.front]
    assert any("say nothing of these ways" in line for line in moved.said)


def test_steps_of_training_say_nothing_of_serving(mine):
    assert Lessons.of(Calibration({})).own is None
    assert Lessons.of(mine).pairs == {("vllm", "h100")}
