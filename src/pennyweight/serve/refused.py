"""A request that is not answered, as a status and one sentence that names no path and no secret."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)  # not frozen: Python writes the traceback into an exception that passes a context manager
class RefusedError(Exception):
    """Why, for the caller; `retry_s` says when to come again, 0 where that would not help.

    `code` is a word for programs, where a protocol has one.
    """

    status: int
    why: str
    retry_s: float = 0.0
    code: str = ""

    def __str__(self) -> str:
        return self.why


def bad(why: str) -> RefusedError:
    """What was sent cannot be answered."""
    return RefusedError(400, why)
