"""Idle hours are spread to the last nano-dollar, in proportion to use."""

from hypothesis import given
from hypothesis import strategies as some

from pennyweight.store.team.idle import HOUR_NS, shares, split

NAMES = some.dictionaries(some.sampled_from("abcdef"), some.integers(0, 10**13), max_size=6)


@given(some.integers(0, 10**15), NAMES)
def test_parts_add_up_and_are_within_one_of_their_proportion(amount, weights):
    parts = split(amount, weights)
    total = sum(weights.values())
    assert sum(parts.values()) == (amount if total else 0)
    for name, part in parts.items():
        assert abs(part * total - amount * weights[name]) < total


def test_capacity_less_metered_compute_is_what_is_spread():
    minute = 60 * 10**9
    used = {0: {"a": 3 * minute, "b": minute}}
    found = shares(used, 6_000_000_000, 0, HOUR_NS)
    # 56 idle minutes of an hour at $6: $5.60, three quarters to a
    assert [(each.tenant, each.nusd, each.idle_ns) for each in found] == [
        ("a", 4_200_000_000, 42 * minute),
        ("b", 1_400_000_000, 14 * minute),
    ]


def test_an_hour_that_nobody_used_is_spread_by_the_whole_span():
    used = {0: {"a": 10}, HOUR_NS: {"b": 30}}
    found = {(each.begin_ns, each.tenant): each.nusd for each in shares(used, 4 * HOUR_NS, 0, 3 * HOUR_NS)}
    assert found[0, "a"] == 4 * (HOUR_NS - 10)
    assert found[2 * HOUR_NS, "a"] * 3 == found[2 * HOUR_NS, "b"] == 3 * HOUR_NS


def test_a_machine_that_was_busy_all_the_time_was_not_idle():
    assert shares({0: {"a": 2 * HOUR_NS}}, 10**9, 0, HOUR_NS) == ()


def test_only_the_part_of_an_hour_that_the_machine_ran_counts():
    found = shares({0: {"a": 0, "b": 1}}, 3_600_000_000_000, HOUR_NS // 2, HOUR_NS)
    assert sum(each.nusd for each in found) == 1800 * 10**9 - 1
    assert [each.tenant for each in found] == ["b"]


def test_nobody_pays_where_nothing_was_used():
    assert shares({}, 10**9, 0, HOUR_NS) == ()
