"""The seconds of ways to run a replica: a line through one request and all it takes at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.serving.closed_loop import MOVE_S, accepted, first_values, settle
from pennyweight.layout.serving.fleet import fleet_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.deployments.ahead import Ahead
    from pennyweight.layout.deployments.lessons import Lessons
    from pennyweight.layout.serving.closed_loop import Load
    from pennyweight.layout.serving.fleet import Fleet, Pool, Serving
    from pennyweight.layout.tables.serving_learning import Physics

    Floats = NDArray[np.float64]

_USUAL_USERS = 16
_LEAST_S = 1e-9
_COLD = 0.0  # requests that arrive when they like do not all begin at once: who waits for whom is followed later


def lines(cases: list[Serving], lessons: Lessons, ahead: Ahead) -> dict[str, Floats]:
    """The seconds (n,) of `queueing.Server`, as `Server.of` has it, of cases (n,) that guess and find `ahead`."""
    physics, fleet = lessons.published.physics, fleet_of(cases)
    alone = replace(fleet, concurrency=fleet.adp)
    light, heavy = settle(alone, physics.decode), settle(fleet, physics.decode)
    light_s, heavy_s = (_token_s(fleet, load, physics, (cases, ahead)) for load in (light, heavy))
    slope = (heavy_s - light_s) / np.maximum(heavy.batch - light.batch, _LEAST_S)
    slope = np.where(heavy.batch > light.batch, np.maximum(slope, 0.0), 0.0)
    first_s = physics.first.add_up(first_values(alone, light, _COLD))
    token, first = _corrections(cases, lessons)
    prompt_s = light.prompt_s / fleet.adp
    return {
        "step_s": np.maximum(light_s - slope * light.batch, _LEAST_S) * token,
        "request_s": slope / fleet.adp * token,
        "prompt_token_s": prompt_s / fleet.prompt * token,
        "fixed_s": np.maximum(first_s * first - (light.step_s + prompt_s) * token, 0.0),
    }


def reads(cases: list[Serving], lessons: Lessons) -> dict[str, Floats]:
    """The seconds (n,) of `pools.Readers` of cases (n,) whose pools are equal and taken apart; what others differ by.

    `token_ratio` is by which factor such deployments were measured to be slower per token than those of one pool,
    `moving` by which what is moved takes longer than its bytes, and `request_s` the latency of moving a request.
    """
    physics, fleet = lessons.published.physics, fleet_of(cases)
    alone = replace(fleet, concurrency=fleet.adp)
    light = settle(alone, physics.decode)
    values = first_values(alone, light, _COLD)
    sized = physics.first.sized(values)
    token, first = _corrections(cases, lessons)
    together, _ = _corrections([replace(case, prefill=None) for case in cases], lessons)
    prompt_s, moving = light.prompt_s / fleet.adp, sized["move"] / values["move"]
    first_s = physics.first.add_up(values) - sized["move"] - sized["queue"]
    return {
        "token_s": prompt_s / fleet.prompt * token,
        "fixed_s": np.maximum(first_s * first - (light.step_s + prompt_s) * token, 0.0),
        "token_ratio": token / together,
        "moving": moving,
        "request_s": MOVE_S * moving,
    }


def _token_s(fleet: Fleet, load: Load, physics: Physics, asked: tuple[list[Serving], Ahead]) -> Floats:
    """Seconds (n,) per token of each running request; a pass that guesses ahead makes several (see `ahead`)."""
    cases, ahead = asked
    if not ahead.tokens:
        return load.step_s
    pass_s = load.step_s * accepted(fleet.drafts)
    if ahead.draft is not None:
        guessing = fleet_of([replace(case, model=ahead.draft, decode=_whole(case), drafts=0.0) for case in cases])
        users = replace(guessing, concurrency=load.batch * guessing.adp)
        pass_s += ahead.tokens * settle(users, physics.decode).step_s
    return pass_s / ahead.made


def _whole(case: Serving) -> Pool:
    """The pool with no experts spread: the model that guesses may have none."""
    return replace(case.decode, expert_parallel=1)


def _corrections(cases: list[Serving], lessons: Lessons) -> tuple[Floats, Floats]:
    """By which factors (n,) measured deployments differ from physics, per token and to the first."""
    usual = [replace(case, concurrency=float(_USUAL_USERS * case.decode.attention_dp)) for case in cases]
    kinds = {_name(case): case for case in usual}
    factors = lessons.factors([*kinds.values()])
    order = {name: at for at, name in enumerate(kinds)}
    at = np.array([order[_name(case)] for case in usual])
    return factors[0][at], factors[1][at]


def _name(case: Serving) -> tuple[str, str, str, Pool]:
    return case.engine, case.accelerator.name, case.gemm, case.decode
