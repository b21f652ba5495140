import time

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.errors import BadInputError
from pennyweight.layout.serving.additive import Additive
from pennyweight.layout.serving.closed_loop import settle
from pennyweight.layout.serving.fleet import Pool, Serving, fleet_of
from pennyweight.layout.serving.forms import DECODE
from pennyweight.layout.serving.iterating import simulate
from pennyweight.layout.serving.queueing import Arrivals, Objective, Server, forecast

SERVER = Server(step_s=0.012, request_s=0.0002, prompt_token_s=2e-5, most=256, fixed_s=0.02)


@pytest.mark.parametrize("rate", [0.5, 2.0, 5.0, 8.0, 16.0])
def test_the_approximation_agrees_with_every_iteration_run_one_by_one(rate):
    arrivals = Arrivals.poisson(rate, 400, (1500, 250), seed=3)
    near, true = forecast(arrivals, SERVER).percentiles(), simulate(arrivals, SERVER).percentiles()
    for name in ("ttft_s_p50", "tpot_s_p50", "tpot_s_p90"):
        assert near[name] == pytest.approx(true[name], rel=0.15)
    assert near["ttft_s_p90"] == pytest.approx(true["ttft_s_p90"], rel=0.3)


def test_bursts_of_uneven_requests_are_followed():
    draw = np.random.default_rng(5)
    rate = np.where(np.arange(1800) // 300 % 2 == 0, 2.0, 12.0)  # requests per second, second by second
    count = draw.poisson(rate)
    at_s = np.sort(np.repeat(np.arange(1800.0), count) + draw.uniform(size=count.sum()))
    prompt, output = draw.lognormal(6.5, 1, len(at_s)), np.ceil(draw.lognormal(4.5, 0.8, len(at_s)))
    arrivals = Arrivals(at_s, prompt, output)
    near, true = forecast(arrivals, SERVER), simulate(arrivals, SERVER)
    goal = Objective(ttft_s=0.5, tpot_s=0.02)
    assert 0.1 < true.held(goal) < 0.95
    assert near.held(goal) == pytest.approx(true.held(goal), abs=0.12)
    assert near.goodput(goal) == pytest.approx(true.goodput(goal), rel=0.2)


def test_an_overloaded_server_builds_up_a_queue_and_twice_as_many_do_not():
    arrivals = Arrivals.poisson(14, 300, (1500, 250), seed=2)
    pair = Server(SERVER.step_s, SERVER.request_s, SERVER.prompt_token_s, SERVER.most, replicas=2)
    for answer in (forecast, simulate):
        assert answer(arrivals, SERVER).percentiles()["ttft_s_p90"] > 10
        assert answer(arrivals, pair).percentiles()["ttft_s_p90"] < 0.5


def test_one_request_alone_takes_its_own_time_exactly():
    arrivals = Arrivals(np.array([5.0]), np.array([1000.0]), np.array([11.0]))
    done = simulate(arrivals, SERVER)
    assert done.ttft_s[0] == pytest.approx(0.02 + 0.012 + 0.0002 + 1000 * 2e-5)
    assert done.tpot_s[0] == pytest.approx(0.0122)
    assert done.busy == pytest.approx(1.0)


def test_prompts_longer_than_a_chunk_take_several_iterations():
    arrivals = Arrivals(np.array([0.0]), np.array([20000.0]), np.array([2.0]))
    assert simulate(arrivals, SERVER).ttft_s[0] == pytest.approx(0.02 + 3 * 0.012 + 0.0002 + 20000 * 2e-5, rel=0.01)


def test_a_day_of_requests_is_forecast_within_a_second():
    arrivals = Arrivals.poisson(28000 / 86400, 86400, (1024, 200))
    began = time.process_time()
    told = forecast(arrivals, SERVER)
    assert time.process_time() - began < 1
    assert len(told.ttft_s) == len(arrivals.at_s) > 27000
    assert told.percentiles()["ttft_s_p99"] < 1
    assert told.busy < 0.9


def test_a_server_is_made_of_a_deployment_that_settled():
    case = Serving(model("llama-3.1-8b"), accelerator("h100"), gemm="fp8", kv="fp8", decode=Pool(workers=2))
    fleet = fleet_of([case])
    load = [
        settle(fleet_of([Serving(**{**_fields(case), "concurrency": users})]), Additive.prior(DECODE))
        for users in (2.0, 64.0)
    ]
    server = Server.of(fleet, (load[0], load[1]))
    assert server.replicas == 2
    assert server.step_s + server.request_s == pytest.approx(float(load[0].step_s[0]), rel=0.05)
    assert server.most == int(load[0].capacity[0])


def _fields(case):
    return {name: getattr(case, name) for name in ("model", "accelerator", "gemm", "kv", "decode")}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Server(0.0, 0.0, 0.0, 1), "step_s > 0"),
        (lambda: Server(0.01, 0.0, 0.0, 0), "most"),
        (lambda: Arrivals(np.array([2.0, 1.0]), np.ones(2), np.ones(2)), "sort them"),
        (lambda: Arrivals(np.array([1.0]), np.ones(2), np.ones(2)), "equal length"),
        (lambda: Arrivals.poisson(0.0, 10, (1, 1)), "above zero"),
    ],
)
def test_what_cannot_be_queued_is_refused_with_the_fix(make, said):
    with pytest.raises(BadInputError, match=said):
        make()
