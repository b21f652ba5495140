"""Budgets that only warn are counted against, whatever their limit, and say so at 80% and at 100%."""

import pytest

from pennyweight.store.team.budgets import Budget, put, state, states, track, warnings
from pennyweight.store.team.opened import opened

NOW = 1_793_664_000 * 10**9
DAY = 86_400 * 10**9


@pytest.mark.parametrize(("nusd", "said"), [(0, ""), (79, ""), (80, "80%"), (99, "80%"), (100, "100%"), (250, "100%")])
def test_a_budget_warns_at_80_and_at_100_percent(store, nusd, said):
    with opened(store) as engine, engine.begin() as link:
        soft = put(link, Budget("tenant", "acme", "day", 100, hard=False))
        track(link, {(soft.id, NOW): nusd})
        assert state(link, soft, NOW + 5).warning == said
        assert [each.warning for each in warnings(link, NOW + 5)] == ([said] if said else [])
        assert warnings(link, NOW + DAY) == ()


def test_what_is_tracked_adds_up_by_window(store):
    with opened(store) as engine, engine.begin() as link:
        soft = put(link, Budget("tenant", "acme", "day", 100, hard=False))
        track(link, {(soft.id, NOW): 60, (soft.id, NOW + DAY): 1})
        track(link, {(soft.id, NOW): 70})
        assert [each.spent_nusd for each in states(link, NOW)] == [130]
        assert [each.spent_nusd for each in states(link, NOW + DAY)] == [1]


def test_states_are_those_that_are_asked_one_by_one(store):
    with opened(store) as engine, engine.begin() as link:
        for period in ("minute", "hour", "month", "total"):
            each = put(link, Budget("tenant", "acme", period, 100, hard=False))
            track(link, {(each.id, state(link, each, NOW).begin_ns): each.id})
        found = states(link, NOW)
        assert [each.spent_nusd for each in found] == [each.budget.id for each in found]
        assert found == tuple(state(link, each.budget, NOW) for each in found)
