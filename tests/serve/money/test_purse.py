"""What a process holds in leases is taken, settled and put back to the nano-dollar, and seldom leased."""

import time

import numpy as np

from pennyweight.serve.money.purse import Hold, Purse, Short, wanted
from pennyweight.store.team.budgets import Budget
from pennyweight.store.team.leases import Lease

S = 1_000_000_000
DAY = Budget("tenant", "acme", "day", 10**9, id=1)
MONTH = Budget("tenant", "acme", "month", 10**9, id=2)


def lease(id_, nusd, budget=DAY):
    now_ns = time.time_ns()
    return Lease(id_, budget.id, 0, now_ns + 3600 * S, nusd, now_ns + 5 * S)


def purse(*leases):
    found = Purse()
    for each in leases:
        found.add(each)
    return found


def test_what_is_left_of_an_old_lease_is_used_before_a_new_one():
    held = purse(lease("old", 3), lease("new", 100))
    assert held.take([DAY], 10) == Hold(10, (("old", 3), ("new", 7)))
    assert held.take([DAY], 10) == Hold(10, (("new", 10),))


def test_a_request_that_costs_less_than_it_took_is_charged_once_in_every_budget():
    hold = Hold(10, (("a", 6), ("b", 4), ("c", 10)))
    assert hold.spent(10) == {"a": 6, "b": 4, "c": 10}
    assert hold.spent(6) == {"a": 6, "b": 0, "c": 6}
    assert hold.spent(5) == {"a": 5, "b": 0, "c": 5}
    assert hold.spent(0) == {"a": 0, "b": 0, "c": 0}


def test_nothing_is_taken_of_one_budget_if_another_is_short():
    held = purse(lease("day", 100))
    short = held.take([DAY, MONTH], 10)
    assert (short.budget, short.nusd) == (MONTH, 10)
    held.add(lease("month", 10, MONTH))
    assert held.take([DAY, MONTH], 10) == Hold(10, (("day", 10), ("month", 10)))
    assert held.take([DAY], 90) == Hold(90, (("day", 90),))


def test_a_lease_is_ended_when_all_of_it_is_spent_and_not_while_some_is_out():
    held = purse(lease("a", 10))
    hold = held.take([DAY], 10)
    assert held.stale(time.time_ns()) == []
    held.give_back(hold, 10)
    assert held.stale(time.time_ns()) == ["a"]
    held.drop(["a"])
    assert held.live() == []


def test_what_comes_back_of_an_emptied_lease_can_be_taken_again():
    held = purse(lease("a", 10))
    held.give_back(held.take([DAY], 10), 4)
    assert held.stale(time.time_ns()) == []
    assert held.take([DAY], 6) == Hold(6, (("a", 6),))
    assert isinstance(held.take([DAY], 1), Short)


def test_whatever_is_taken_and_given_back_in_any_order_no_nano_dollar_appears_or_is_lost():
    dice = np.random.default_rng(0)
    held, given, spent, out = purse(), 0, 0, []
    for number in range(2000):
        hold = held.take([DAY], 10)
        if isinstance(hold, Short):
            nusd = int(dice.integers(hold.nusd, 40))
            held.add(lease(str(number), nusd))
            given += nusd
        else:
            out.append(hold)
        if out and dice.random() < 0.9:
            done, cost = out.pop(dice.integers(len(out))), int(dice.integers(0, 11))
            assert sum(done.spent(cost).values()) == cost
            held.give_back(done, cost)
            spent += cost
        held.drop(held.stale(time.time_ns()))
    left = sum(coin.left for coin in held.by_id.values())
    assert spent + left + 10 * len(out) == given
    assert len(held.by_id) < 100


def test_leases_that_are_used_up_at_once_grow_and_never_beyond_a_part_of_what_is_left():
    held, sizes = purse(), []
    for number in range(8):
        short = held.take([DAY], 10)
        sizes.append(wanted(short, 10**9))
        held.add(lease(str(number), sizes[-1]))
        held.give_back(held.take([DAY], sizes[-1]), sizes[-1])
    assert sizes == sorted(sizes)
    assert sizes[-1] >= 32 * sizes[0]
    assert wanted(short, 1600) == 100
    assert wanted(short, 10) == 10
