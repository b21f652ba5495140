"""What users of a served model are promised: seconds to the first token and per token that most requests keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.serving.queueing import Objective
from pennyweight.units import parse_seconds, seconds

if TYPE_CHECKING:
    from pennyweight.layout.serving.queueing import Queued

WHAT = {"ttft": "to the first token", "tpot": "per token"}
PERCENT = 90.0
_WORD = re.compile(r"([a-z]+)(?:_p(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Limit:
    """So many `percent` of the requests take at most `most_s`: `ttft` to the first token, `tpot` per token after it."""

    what: str
    most_s: float
    percent: float = PERCENT

    def __post_init__(self) -> None:
        if self.what not in WHAT:
            raise UnknownNameError.of("objective", self.what, [*WHAT, *(f"{each}_p99" for each in WHAT)])
        if not 0 < self.most_s < np.inf:
            raise BadInputError(f"Nothing is served within {self.most_s:g} s.", "give a time above zero, such as 40ms.")
        if not 0 < self.percent < 100:
            raise BadInputError(f"There is no percentile {self.percent:g}.", "give one below 100, such as ttft_p99=1s.")

    def taken_s(self, queued: Queued) -> float:
        """Seconds at this limit's percentile."""
        return float(np.percentile(getattr(queued, f"{self.what}_s"), self.percent))

    def __str__(self) -> str:
        return f"{seconds(self.most_s)} {WHAT[self.what]} at p{self.percent:g}"


@dataclass(frozen=True, slots=True)
class Slo:
    """All limits that are to be kept together; one at least."""

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        if not self.limits:
            raise BadInputError("There is no objective.", "give one, such as ttft=1s,tpot=40ms.")

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `ttft=1s,tpot=40ms`, at the 90th percentile, or another: `ttft_p99=2s`."""
        return cls(tuple(_limit(each.strip()) for each in text.split(",") if each.strip()))

    def miss(self, queued: Queued) -> tuple[float, Limit]:
        """How many times over is the limit that is missed most (kept: at most one), and which it is."""
        ratios = [each.taken_s(queued) / each.most_s for each in self.limits]
        worst = int(np.argmax(ratios))
        return ratios[worst], self.limits[worst]

    def objective(self) -> Objective:
        """The tightest limit of each kind, for a request to keep."""
        tight = {what: min((each.most_s for each in self.limits if each.what == what), default=np.inf) for what in WHAT}
        return Objective(tight["ttft"], tight["tpot"])

    def percent(self, what: str) -> float:
        """The percentile that is promised of `ttft` or `tpot`; the highest of several, the usual one of none."""
        return max((each.percent for each in self.limits if each.what == what), default=PERCENT)


def _limit(text: str) -> Limit:
    word, _, value = (each.strip() for each in text.partition("="))
    found = _WORD.fullmatch(word.lower())
    if not found or not value:
        raise BadInputError(f"{text!r} is no objective.", "write limits such as ttft=1s,tpot=40ms or ttft_p99=2s.")
    return Limit(found[1], parse_seconds(value), float(found[2] or PERCENT))
