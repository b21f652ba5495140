"""How much a template may make: of texts, of values that hold one another, of turns; said before it is made."""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

MOST_TEXT = 8 * 2**20  # characters
MOST_TURNS = 200_000  # of all loops, calls and numbers of ranges of one rendering
_MOST_TIMES = 10_000  # by which a template may multiply, so that a word does not become a gigabyte
_MOST_GROWTH = 8 * MOST_TEXT  # characters of a text times what may take the place of each of them
_VALUE = 64  # characters that a value counts as that is no text, so that looking at all of them is soon done
_WIDE = re.compile(r"\d{5}")  # in what says how a text is laid out
_LAID_OUT = frozenset({"format", "format_map"})
_LEFT: ContextVar[list[int]] = ContextVar("left")


class TooMuchError(Exception):
    """A template makes more than a chat can be."""

    def __str__(self) -> str:
        return "it makes too much of them"


@contextmanager
def bounded() -> Generator[None]:
    """Around one rendering, whose turns are counted."""
    token = _LEFT.set([MOST_TURNS])
    try:
        yield
    finally:
        _LEFT.reset(token)


def take(turns: int) -> None:
    """Count turns; raises `TooMuchError` when there were too many."""
    left = _LEFT.get([MOST_TURNS])
    left[0] -= turns
    if left[0] < 0:
        raise TooMuchError


def counted(values: Any) -> Any:
    """The same values, of which each that is taken is a turn."""
    if hasattr(values, "__len__"):
        take(len(values))
        return values
    return (_turn(each) for each in values)


def _turn(value: Any) -> Any:
    take(1)
    return value


def weighed(value: Any) -> Any:
    """The value, if the text of it is no longer than a chat can be, however its parts hold one another."""
    weight(value)
    return value


def weight(value: Any) -> int:
    """About how many characters the text of a value has; raises `TooMuchError` beyond what a chat can be."""
    sum_, todo = 0, [value]
    while todo:
        each = todo.pop()
        sum_ += len(each) if isinstance(each, str) else _VALUE
        if sum_ > MOST_TEXT:
            raise TooMuchError
        if isinstance(each, list | tuple | set | frozenset):
            todo.extend(each)
        elif isinstance(each, dict):
            todo.extend(chain.from_iterable(each.items()))
    return sum_


def is_small(operator: str, left: Any, right: Any) -> bool:
    """Whether what an operator makes of two values is no more than a chat can be."""
    if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        return len(left) + len(right) <= MOST_TEXT
    if operator in {"+", "%"}:
        return not isinstance(left, str)
    return all(isinstance(each, int | float) and abs(each) <= _MOST_TIMES for each in (left, right))


def checked(name: str, given: tuple[Any, ...], more: dict[str, Any]) -> tuple[Any, ...]:
    """What a method or filter is given, once it cannot make too long a text of it; iterators become lists."""
    given = tuple(_listed(each) for each in given)
    every = (*given, *more.values())
    if name in _LAID_OUT and any(isinstance(each, str) and _WIDE.search(each) for each in given[:1]):
        raise TooMuchError
    if name == "join":
        _check_join(every)
    else:
        _check_growth(every)
    return given


def _check_join(values: tuple[Any, ...]) -> None:
    parts = next((each for each in values if not isinstance(each, str)), ())
    between = sum(len(each) for each in values if isinstance(each, str))
    if weight(parts) * max(1, between) > _MOST_GROWTH:
        raise TooMuchError


def _check_growth(values: Iterable[Any]) -> None:
    """No text may be grown by another, or by a number, beyond measure."""
    grown = 1.0
    for each in values:
        grown *= max(1, _size(each))
        if grown > _MOST_GROWTH:
            raise TooMuchError


def _size(value: Any) -> float:
    if isinstance(value, int | float):
        return abs(value)
    return weight(value) if isinstance(value, str | list | tuple | set | frozenset | dict) else 1


def _listed(value: Any) -> Any:
    return list(value) if hasattr(value, "__next__") else value
