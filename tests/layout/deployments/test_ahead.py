"""Prompts that are found in a cache and tokens that are guessed ahead spare what the formulas say."""

import pytest

from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError
from pennyweight.layout.deployments.ahead import PLAIN, Ahead
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.plan import Demand, plan_serve
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.deployments.ways import task_of
from pennyweight.layout.serving.objectives import Slo

SMALL = model("llama-3-8b")


def planned(ahead=PLAIN, name="llama-3-8b", precision="bf16", rate=100):
    wanted = Wanted(model(name), 800, 100, ("vllm",), (precision,), ahead)
    demand = Demand.at_rate(rate, 800, 100)
    return plan_serve(wanted, demand, Slo.read("ttft=2s,tpot=60ms"), Market.open(["h200"], spare=False))


def choices(ahead=PLAIN, name="llama-3-70b", precision="bf16"):
    return Choices.of(Wanted(model(name), 800, 100, ("vllm",), (precision,), ahead), {"h200": 8})


def test_a_pass_makes_a_geometric_series_of_tokens():
    assert Ahead(tokens=3, accept=0.5).made == pytest.approx(1 + 0.5 + 0.25 + 0.125)
    assert PLAIN.made == 1


def test_half_the_prompts_in_the_cache_halve_the_seconds_of_a_prompt():
    plain, half = choices(name="llama-3-8b"), choices(Ahead(0.5), name="llama-3-8b")
    share = half.prompt_token_s / plain.prompt_token_s
    assert (share > 0.45).all()
    assert (share < 0.65).all()
    assert half.step_s == pytest.approx(plain.step_s)


def test_a_cache_makes_it_cheaper_and_less_sure():
    plain, cached = planned(), planned(Ahead(0.6))
    assert cached.cheapest.usd_hour < plain.cheapest.usd_hour
    assert cached.cheapest.ttft_s[2] / cached.cheapest.ttft_s[1] > plain.cheapest.ttft_s[2] / plain.cheapest.ttft_s[1]
    assert any("60% of every prompt is found" in line for line in cached.said)


def test_guesses_that_are_mostly_right_are_faster_alone_and_wrong_ones_slower():
    def of_eight(ahead):
        found = choices(ahead)
        return float(found.step_s[next(at for at, case in enumerate(found.serving) if case.decode.tp == 8)])

    right, wrong = (of_eight(Ahead(0, 4, accept, SMALL)) for accept in (0.9, 0.05))
    assert right < of_eight(PLAIN) < wrong


def test_a_model_that_guesses_takes_memory_and_layers_of_its_own_do_not():
    plain, ahead = choices(), choices(Ahead(0, 3, 0.7, SMALL))
    beside = ahead.byte[-1] - plain.byte[-1]
    assert ahead.serving[-1].decode == plain.serving[-1].decode
    assert beside > 2 * 8e9 / ahead.serving[-1].decode.tp
    own = choices(Ahead(0, 1, 0.8), "deepseek-v3", "fp8")
    assert own.byte[0] == choices(name="deepseek-v3", precision="fp8").byte[0]


def test_guesses_of_a_models_own_layers_are_planned_and_said():
    plan = planned(Ahead(0, 1, 0.8), "deepseek-v3", "fp8", rate=20)
    assert plan.cheapest.serving.drafts == 1
    assert any("the model's own layers guess 1 tokens ahead" in line for line in plan.said)


@pytest.mark.parametrize(
    ("text", "prefix", "said"),
    [
        ("3", 0.0, "does not say what is guessed"),
        ("accept=0.7", 0.0, "does not say what is guessed"),
        ("accept=0.7,tokens=many", 0.0, "no good numbers"),
        ("accept=0.7,tokens=0", 0.0, "guesses no tokens"),
        ("accept=1.7,tokens=3", 0.0, "a share of 1.7 is right"),
        ("accept=0.7,tokens=99", 0.0, "1 to 16 tokens"),
        ("", 1.0, "cannot be found in a cache"),
        ("", -0.1, "cannot be found in a cache"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix(text, prefix, said):
    with pytest.raises(BadInputError, match=said):
        Ahead.read(text, prefix)


def test_guesses_need_layers_that_guess_or_a_model_with_the_same_tokens():
    with pytest.raises(BadInputError, match="no layers that guess"):
        Wanted(SMALL, 800, 100, ahead=Ahead.read("accept=0.7,tokens=3"))
    with pytest.raises(BadInputError, match="it cannot guess for it"):
        Wanted(SMALL, 800, 100, ahead=Ahead.read("accept=0.7,tokens=3,model=deepseek-v3"))
    assert Ahead.read("accept=0.7, tokens=3, model=llama-3-8b").draft == SMALL


@pytest.mark.parametrize("precision", ["mxfp8", "mxfp4", "nvfp4"])
def test_weights_of_few_bits_are_planned(precision):
    wanted = Wanted(SMALL, 800, 100, ("vllm",), (precision,))
    few, whole = (
        Choices.of(replaced, {"b200": 1}) for replaced in (wanted, Wanted(SMALL, 800, 100, ("vllm",), ("bf16",)))
    )
    assert few.byte.min() < whole.byte.min()


def test_joules_are_those_of_the_task_with_such_requests():
    assert task_of(100, 800) == "lm-arena-chat"
    assert task_of(300, 6000) == "gpqa"
    assert task_of(1500, 100) == "sourcegraph-fim"
    assert any("those of sourcegraph-fim" in line for line in planned().said)


def test_dollars_have_an_interval_of_whole_machines_and_are_split():
    for way in planned(rate=400).front:
        value, low, high = way.paid
        assert low <= value <= high
        assert way.usd_hour == value
        machine = way.rent.usd_hour / way.rent.machines
        assert low / machine == pytest.approx(round(low / machine))
        assert way.usd_month[0] == pytest.approx(value * 730.5)
        assert way.usd_million[0] == pytest.approx(way.usd_output)
        assert sum(way.split.values()) == pytest.approx(value)
        assert min(way.split.values()) >= 0
    assert any(way.paid[1] < way.paid[0] < way.paid[2] for way in planned(rate=400).front)
