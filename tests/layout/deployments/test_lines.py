"""The seconds of ways to run a replica: what a request takes that nobody waits with."""

from dataclasses import replace

import numpy as np

from pennyweight.catalog.models import model
from pennyweight.layout.deployments.ahead import PLAIN
from pennyweight.layout.deployments.choices import Choices, Wanted
from pennyweight.layout.deployments.lessons import Lessons
from pennyweight.layout.deployments.lines import lines
from pennyweight.layout.serving.closed_loop import first_values, settle
from pennyweight.layout.serving.fleet import fleet_of


def test_a_lone_request_that_arrives_when_it_likes_waits_for_no_others_to_begin():
    cases = list(Choices.of(Wanted(model("llama-3-8b"), 4000, 100, ("vllm",)), {"h100": 2}).serving)
    lessons = Lessons.of()
    timed, physics = lines(cases, lessons, PLAIN), lessons.published.physics
    fleet = fleet_of(cases)
    alone = replace(fleet, concurrency=fleet.adp)
    light = settle(alone, physics.decode)
    usual = [replace(case, concurrency=16.0 * case.decode.attention_dp) for case in cases]
    token, first = lessons.factors(usual)
    told = timed["fixed_s"] + timed["prompt_token_s"] * fleet.prompt + light.step_s * token
    felt = timed["fixed_s"] > 0
    open_s, together_s = (physics.first.add_up(first_values(alone, light, cold)) * first for cold in (0.0, 1.0))
    assert felt.any()
    np.testing.assert_allclose(told[felt], open_s[felt], rtol=1e-6)
    assert (told[felt] < together_s[felt] * 0.999).all()
