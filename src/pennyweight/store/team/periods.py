"""When a minute, an hour, a day or a month begins and ends in a time zone, daylight saving included."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pennyweight.errors import BadInputError, UnknownNameError

Period = Literal["minute", "hour", "day", "month", "total"]
PERIODS: tuple[Period, ...] = get_args(Period)
_S = 1_000_000_000
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_NEVER_NS = 2**62


def span(period: Period, zone: str, at_ns: int) -> tuple[int, int]:
    """The first nanosecond of the period that holds `at_ns`, and the first after it.

    Days and months begin at midnight on the zone's clocks, so a day may have 23 or 25 hours; hours and minutes are
    counted in UTC, where none is missing and none comes twice. "total" has no end. Raises `BadInputError` for a
    period and `UnknownNameError` for a zone that there is none of.
    """
    match period:
        case "minute":
            return _even(60 * _S, at_ns)
        case "hour":
            return _even(3600 * _S, at_ns)
        case "day" | "month":
            return _local(period, _zone(zone), at_ns)
        case "total":
            return 0, _NEVER_NS
    raise BadInputError(f"There is no period {period!r}.", f"use one of {', '.join(PERIODS)}.")


def month(text: str) -> tuple[int, int]:
    """The first nanosecond of a month such as "2026-11" in UTC, and the first after it; or `BadInputError`."""
    match = _MONTH.fullmatch(text)
    if match is None or not 1970 <= int(match[1]) < 2200 or not 1 <= int(match[2]) <= 12:
        raise BadInputError(f"{text[:40]!r} is no month.", "write it as 2026-11.")
    return span("month", "UTC", int(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC).timestamp()) * _S)


def _even(long_ns: int, at_ns: int) -> tuple[int, int]:
    begin = at_ns - at_ns % long_ns
    return begin, begin + long_ns


def _local(period: Period, zone: ZoneInfo, at_ns: int) -> tuple[int, int]:
    now = datetime.fromtimestamp(at_ns // _S, UTC).astimezone(zone)
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "month":
        begin = begin.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    else:
        end = begin + timedelta(days=1)
    return _ns(begin), _ns(end)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _S


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownNameError(
            f"There is no time zone named {name!r}.", "use a name such as UTC or Europe/Berlin."
        ) from error
