"""What a comparison found, as values; `facts` is all of it, for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from collections.abc import Mapping


@final
@dataclass(frozen=True, slots=True)
class Check:
    """Whether one floor is certified: `held` if it is, else `why` not.

    `p_value` is at most one minus the confidence with at most that chance if the floor is broken; `test` names how it
    was found, on `n` units. `needed` is how many tokens (questions, probes) would be enough, None if none would.
    """

    what: str
    held: bool
    p_value: float | None
    test: str
    n: int
    why: str
    needed: int | None = None


@final
@dataclass(frozen=True, slots=True)
class OnText:
    """Perplexity of both per token, and bits per byte of UTF-8. `ratio` is the second's perplexity over the first's.

    `most` is its upper bound at the confidence asked for (None: too little text to say).
    """

    tokens: int
    byte: int
    documents: int
    window: int
    stride: int
    perplexity: tuple[float, float]
    bits_per_byte: tuple[float, float]
    ratio: float
    most: float | None


@final
@dataclass(frozen=True, slots=True)
class Divergence:
    """The mean divergence KL(first‖second) of a token, in nats, and how often both would guess the same token.

    Pairs are 95% intervals (None: too little text). `exact` is False where only the likeliest tokens of the first were
    kept: then it is a lower bound.
    """

    mean: float
    interval: tuple[float, float] | None
    agree: float
    agree_interval: tuple[float, float] | None
    exact: bool


@final
@dataclass(frozen=True, slots=True)
class OnTasks:
    """Of `n` questions of a task, the shares both answer rightly, and on how many only one was right.

    `plain` is by the log-likelihood of an ending, `by_length` by that per byte.
    """

    task: str
    n: int
    plain: tuple[float, float]
    by_length: tuple[float, float]
    only_first: int
    only_second: int


@final
@dataclass(frozen=True, slots=True)
class Retrieved:
    """Of `n` numbers hidden in `length` tokens at `depth`: the shares both find, and the mean rank of the right one.

    One in ten is found by luck. `said` are the shares that would be said word for word.
    """

    length: int
    depth: float
    n: int
    found: tuple[float, float]
    rank: tuple[float, float]
    said: tuple[float, float]


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """What the comparison took; `joule_basis` says how its energy is known."""

    seconds: float
    cpu_s: float
    joule: float
    joule_basis: str
    peak_byte: float


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found of two checkpoints; `held` is whether every floor that was asked for is certified.

    All floors together hold with the confidence asked for: a false certificate needs one of the tests to fail, and
    each fails with no more than the chance that is left.
    """

    first: str
    second: str
    text: OnText
    divergence: Divergence | None
    tasks: tuple[OnTasks, ...]
    retrieved: tuple[Retrieved, ...]
    checks: tuple[Check, ...]
    confidence: float
    together: bool
    cost: Cost

    @property
    def held(self) -> bool:
        """Whether every floor is certified."""
        return all(check.held for check in self.checks)

    def facts(self) -> Mapping[str, Any]:
        """All of it, for JSON."""
        return {"held": self.held, **asdict(self)}
