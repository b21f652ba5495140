"""Budgets hold whatever a step costs, and stopping early is for good reasons only."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.control.alerts import Alerts, Kind
from pennyweight.control.halting import Decision, Goal, Governor, Tick, Why
from pennyweight.control.pacing import Pacer


def run(goal, score, *, price=1.0, every=10, se=0.0, ending=1.0):
    """Train to the end or to a decision; what was spent, with the ending, and the decision."""
    governor, spent = Governor(goal), 0.0
    for step in range(1, goal.steps + 1):
        spent += price
        decision = governor.tell(Tick(step, spent, spent, 1.0))
        if decision is None and step % every == 0:
            spent += ending
            governor.reserve(ending, ending)
            decision = governor.tell(Tick(step, spent, spent, 1.0, score(step), se))
        if decision is not None:
            return spent + ending, decision
    return spent + ending, None


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 1.3), st.floats(0.0, 0.4), st.floats(0.2, 20))
def test_a_budget_is_never_exceeded_by_more_than_a_percent(seed, share, scatter, ending):
    rng = np.random.default_rng(seed)
    prices = rng.lognormal(0, scatter, 800)
    budget = share * prices.sum() + 4 * ending
    governor, spent = Governor(Goal(800, usd=budget)), 0.0
    for step, price in enumerate(prices, start=1):
        spent += price
        decision = governor.tell(Tick(step, spent, 0.0, 1.0))
        if decision is None and step % 40 == 1:
            spent += ending
            governor.reserve(ending, 0.0)
            decision = governor.tell(Tick(step, spent, 0.0, 1.0, 0.5))
        if decision is not None:
            break
    assert spent + ending <= 1.01 * budget
    assert decision is None or decision.why is Why.BUDGET
    assert decision is not None or step == 800


def test_nearly_all_of_a_budget_is_used():
    spent, decision = run(Goal(10_000, usd=1000.0), lambda step: 0.5)
    assert decision.why is Why.BUDGET
    assert 980 < spent <= 1000


def test_seconds_bind_like_dollars():
    _, decision = run(Goal(10_000, wall_s=100.0), lambda step: 0.5)
    assert decision.why is Why.BUDGET
    assert "of 1 min 40 s" in decision.reason


def test_a_floor_that_is_surely_reached_ends_the_training():
    _, decision = run(Goal(1000, target=0.9), lambda step: 0.97 - 0.6 * math.exp(-step / 60))
    assert decision.why is Why.REACHED
    assert 100 <= decision.step <= 200


def test_a_score_within_its_error_of_the_floor_is_not_sure():
    _, decision = run(Goal(300, target=0.9), lambda step: 0.905, se=0.01)
    assert decision is None


def test_a_floor_out_of_reach_is_given_up_early_and_the_reason_has_the_forecast():
    _, decision = run(Goal(1000, target=0.99), lambda step: 0.8 - 0.5 * math.exp(-step / 40) + 0.001 * (step % 7))
    assert decision.why is Why.HOPELESS
    assert decision.step < 700
    assert "out of reach" in decision.reason
    assert decision.numbers["chance"] < 0.05


def test_a_floor_within_reach_is_not_given_up():
    for high in (0.93, 0.97):
        _, decision = run(Goal(1000, target=0.9), lambda step, high=high: high - 0.5 * (1 + step / 60) ** -1.2)
        assert decision is None or decision.why is not Why.HOPELESS


def test_a_decision_is_plain_json():
    facts = Decision(Why.BUDGET, 7, "Spent.", {"spent": 1.0}).facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["why"] == "budget"


def test_what_lies_ahead_is_told_in_dollars_seconds_and_score():
    governor = Governor(Goal(400, target=0.9))
    for step in range(1, 201):
        score = 0.95 - 0.5 * math.exp(-step / 50) if step % 20 == 0 else None
        governor.tell(Tick(step, 2.0 * step, 0.5 * step, 1.0, score))
    ahead = governor.ahead()
    assert ahead.usd.low <= 400 <= ahead.usd.high
    assert ahead.wall_s.mean == pytest.approx(100)
    assert ahead.score.low <= 0.95 - 0.5 * math.exp(-8) <= ahead.score.high
    assert ahead.chance > 0.9


def test_a_pace_that_drifts_has_wider_intervals():
    steady, drifting = Pacer(), Pacer()
    rng = np.random.default_rng(0)
    total = other = 0.0
    for step in range(1, 201):
        total += rng.uniform(0.9, 1.1)
        other += rng.uniform(0.9, 1.1) * (1 if step % 60 < 30 else 2)
        steady.add(step, total)
        drifting.add(step, other)
    one, two = steady.ahead(1000), drifting.ahead(1000)
    assert one.low <= 1000 <= one.high
    assert (two.high - two.low) / two.mean > 3 * (one.high - one.low) / one.mean


def test_alerts_come_once_and_again_after_they_ended():
    alerts = Alerts(Goal(1000, usd=100.0))
    told = []
    for step in range(1, 100):
        loss = 50.0 if step in {40, 70} else 1.0 + 0.01 * (step % 5)
        told += alerts.tell(Tick(step, float(step), 0.0, loss))
    assert [(each.kind, each.step) for each in told] == [(Kind.SPIKE, 40), (Kind.SPIKE, 70), (Kind.BUDGET, 80)]
    assert "80% of the dollars" in told[-1].text


def test_quality_that_falls_is_an_alert():
    alerts = Alerts(Goal(1000))
    scores = [0.5, 0.7, 0.8, 0.79, 0.75, 0.74, 0.7]
    told = [alerts.tell(Tick(at + 1, 0.0, 0.0, 1.0, score, 0.01)) for at, score in enumerate(scores)]
    assert [len(each) for each in told] == [0, 0, 0, 0, 0, 0, 1]
    assert told[-1][0].kind is Kind.FALLING
    assert "0.8" in told[-1][0].text
