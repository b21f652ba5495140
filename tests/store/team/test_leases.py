"""Budgets hold whoever asks at the same time, and what a dead worker held comes back."""

import threading

import pytest
from sqlalchemy import select

from pennyweight.errors import BadInputError
from pennyweight.store.team import leases
from pennyweight.store.team.budgets import Budget, budgets, put, state
from pennyweight.store.team.leases import Holder
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.tables import lease

NOW = 1_700_000_000_000_000_000
S = 1_000_000_000


@pytest.fixture
def team(store):
    with opened(store) as engine:
        yield engine


def made(team, limit=1000, **more):
    with team.begin() as link:
        return put(link, Budget(**({"level": "tenant", "owner": "acme", "period": "day", "limit_nusd": limit} | more)))


def at(team, budget, now=NOW):
    with reading(team) as link:
        found = state(link, budget, now)
        return found.spent_nusd, found.reserved_nusd


def test_eight_that_ask_at_once_never_spend_more_than_the_limit(team):
    budget, got = made(team, limit=1000), []

    def ask(worker):
        for _ in range(20):
            with team.begin() as link:
                taken = leases.reserve(link, budget, 13, Holder(worker), NOW)
            if taken:
                with team.begin() as link:
                    leases.settle(link, {taken.id: 11})
                    leases.release(link, [taken.id])
                got.append(11)

    threads = [threading.Thread(target=ask, args=(f"w{i}",)) for i in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    spent, reserved = at(team, budget)
    assert reserved == 0
    assert spent == sum(got) <= 1000
    assert spent > 1000 - 8 * 13  # and little is left lying


def test_what_is_reserved_is_not_given_twice(team):
    budget = made(team, limit=100)
    with team.begin() as link:
        first = leases.reserve(link, budget, 60, Holder("a"), NOW)
        assert first.nusd == 60
        assert leases.reserve(link, budget, 60, Holder("b"), NOW) is None
        assert leases.reserve(link, budget, 40, Holder("b"), NOW).nusd == 40
    assert at(team, budget) == (0, 100)


def test_a_lease_that_nobody_renews_comes_back_and_can_no_longer_be_spent(team):
    budget = made(team, limit=100)
    with team.begin() as link:
        dead = leases.reserve(link, budget, 60, Holder("dead", 5 * S), NOW)
        alive = leases.reserve(link, budget, 40, Holder("alive", 5 * S), NOW)
        leases.renew(link, [alive.id], NOW + 20 * S)
        assert leases.expire(link, NOW + 6 * S) == 1
        assert leases.held(link, [dead.id, alive.id]) == {alive.id: 40}
    assert at(team, budget) == (0, 40)


def test_what_is_settled_stays_spent_when_the_lease_ends(team):
    budget = made(team, limit=100)
    with team.begin() as link:
        taken = leases.reserve(link, budget, 60, Holder("a"), NOW)
        leases.settle(link, {taken.id: 25})
        leases.release(link, [taken.id])
        assert link.execute(select(lease)).first() is None
    assert at(team, budget) == (25, 0)


def test_tomorrow_begins_at_midnight_of_the_owner_with_nothing_spent(team):
    budget = made(team, limit=100, zone="Asia/Tokyo")
    with team.begin() as link:
        assert leases.reserve(link, budget, 100, Holder("a"), NOW).end_ns == 1_700_060_400 * S
        assert leases.reserve(link, budget, 1, Holder("a"), NOW) is None
        assert leases.reserve(link, budget, 100, Holder("a"), 1_700_060_400 * S).begin_ns == 1_700_060_400 * S


def test_a_budget_that_is_put_again_changes_its_limit_and_keeps_what_was_spent(team):
    budget = made(team, limit=100)
    with team.begin() as link:
        taken = leases.reserve(link, budget, 60, Holder("a"), NOW)
        leases.settle(link, {taken.id: 60})
    again = made(team, limit=50)
    assert again.id == budget.id
    with team.begin() as link:
        assert budgets(link) == (again,)
        assert state(link, again, NOW).left_nusd == 0
        assert leases.reserve(link, again, 1, Holder("a"), NOW) is None


@pytest.mark.parametrize("wrong", [{"level": "user"}, {"period": "fortnight"}, {"limit": -1}, {"zone": "Mars/Olympus"}])
def test_a_budget_that_cannot_be_is_refused(team, wrong):
    with pytest.raises(BadInputError):
        made(team, **wrong)
