import gc
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pennyweight.cost.clock import process_s
from pennyweight.cost.race import Timing, median_interval, race, ratio
from pennyweight.errors import BadInputError


def spin(loops: int) -> int:
    total = 0
    for i in range(loops):
        total += i
    return total


def test_ten_times_the_work_is_seen_as_about_ten_times_the_cost():
    found = race({"one": lambda: spin(2_000), "ten": lambda: spin(20_000)}, rounds=15, budget_s=5)
    share = ratio(found["ten"], found["one"])
    assert share.low <= share.value <= share.high
    assert 6 < share.value < 15


def test_every_contender_gets_every_round_and_its_interval_holds_its_median():
    found = race({"a": lambda: spin(500), "b": lambda: spin(700), "c": lambda: None}, rounds=9, width=0)
    assert {timing.rounds for timing in found.values()} == {9}
    assert all(len(timing.samples_s) == 9 for timing in found.values())
    assert all(timing.low_s <= timing.cpu_s <= timing.high_s for timing in found.values())


def test_a_race_ends_when_its_budget_is_spent():
    found = race({"slow": lambda: spin(300_000)}, rounds=10_000, budget_s=0.2, width=0)
    assert 1 <= found["slow"].rounds < 1_000


def test_a_race_ends_when_all_intervals_are_narrow():
    found = race({"a": lambda: spin(5_000)}, rounds=10_000, budget_s=20, width=0.5)
    assert found["a"].rounds < 200
    assert found["a"].width <= 0.5


def test_the_order_is_another_in_every_round_and_the_same_for_a_seed():
    def order(seed: int) -> list[str]:
        calls: list[str] = []

        def contender(name: str):
            def call() -> None:
                if not calls or calls[-1] != name:
                    calls.append(name)
                spin(100_000)

            return call

        race({name: contender(name) for name in "abc"}, rounds=3, width=0, seed=seed)
        return calls

    assert order(1) == order(1)
    assert order(1)[3:6] != order(1)[6:9] or order(1)[3:6] != order(1)[9:12]


def test_the_garbage_collector_is_put_back():
    gc.enable()
    with pytest.raises(ZeroDivisionError):
        race({"broken": lambda: 1 // 0})
    assert gc.isenabled()
    seen = []
    race({"a": lambda: seen.append(gc.isenabled())}, rounds=1)
    assert gc.isenabled()
    assert not all(seen)


def test_nobody_racing_is_refused():
    with pytest.raises(BadInputError, match="at least one"):
        race({})


def test_timings_of_two_races_cannot_be_paired():
    one, other = Timing(1, 1, 1, 1, 1, (1.0,)), Timing(1, 1, 1, 1, 2, (1.0, 1.0))
    with pytest.raises(BadInputError, match="one call of race"):
        ratio(one, other)


def test_pairing_by_round_cancels_what_slows_both():
    slow = [1.0, 5.0, 1.0, 9.0, 2.0, 1.0, 7.0]
    ours, theirs = (Timing(1, 1, 1, 1, 7, tuple(f * each for each in slow)) for f in (3.0, 1.0))
    found = ratio(ours, theirs)
    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3))


@given(st.lists(st.floats(min_value=0, max_value=1e3), min_size=1, max_size=60))
def test_the_interval_lies_within_the_values_and_holds_their_median(values):
    low, high = median_interval(values)
    ordered = sorted(values)
    assert ordered[0] <= low <= ordered[(len(values) - 1) // 2] <= ordered[len(values) // 2] <= high <= ordered[-1]


def test_the_interval_is_that_of_the_tables():
    # Conover, Practical Nonparametric Statistics, table A3: n = 10 gives ranks 2 and 9, n = 20 ranks 6 and 15.
    assert median_interval(range(1, 11)) == (2, 9)
    assert median_interval(range(1, 21)) == (6, 15)
    assert median_interval(range(1, 6)) == (1, 5)


@settings(max_examples=5)
@given(st.integers(min_value=7, max_value=40))
def test_the_interval_covers_the_true_median_as_often_as_it_says(n):
    dice = random.Random(n)
    covered = 0
    for _ in range(600):
        low, high = median_interval([dice.expovariate(1.0) for _ in range(n)])
        covered += low <= 0.6931471805599453 <= high
    assert covered / 600 > 0.92


def test_the_clock_counts_threads_up_to_now():
    from threading import Event, Thread

    stop, started = Event(), Event()

    def work() -> None:
        started.set()
        while not stop.is_set():
            spin(1_000)

    before_s = process_s()
    thread = Thread(target=work)
    thread.start()
    started.wait()
    spin(200_000)
    stop.set()
    thread.join()
    assert process_s() > before_s
