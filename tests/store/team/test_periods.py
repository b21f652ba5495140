"""Days and months begin where the owner lives, also when clocks are changed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pennyweight.errors import UnknownNameError
from pennyweight.store.team.periods import PERIODS, span

S = 1_000_000_000


def ns(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp()) * S


@given(some.sampled_from(PERIODS), some.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
       some.integers(0, 2**31))  # fmt: skip
def test_a_moment_is_within_its_period_and_the_next_begins_where_it_ends(period, zone, second):
    begin, end = span(period, zone, second * S)
    assert begin <= second * S < end
    if period != "total":
        assert span(period, zone, end)[0] == end
        assert span(period, zone, end - 1) == (begin, end)


def test_the_day_on_which_clocks_go_forward_has_23_hours():
    begin, end = span("day", "Europe/Berlin", ns(2026, 3, 29, 12))
    assert (begin, end) == (ns(2026, 3, 28, 23), ns(2026, 3, 29, 22))


def test_the_day_on_which_clocks_go_back_has_25_hours():
    begin, end = span("day", "Europe/Berlin", ns(2026, 10, 25, 12))
    assert (end - begin) / S == 25 * 3600


def test_a_month_may_be_of_any_length():
    assert span("month", "UTC", ns(2028, 2, 10)) == (ns(2028, 2, 1), ns(2028, 3, 1))


def test_a_zone_that_is_not_there_is_said():
    with pytest.raises(UnknownNameError, match="Europe/Berlin"):
        span("day", "../../etc/passwd", 0)
