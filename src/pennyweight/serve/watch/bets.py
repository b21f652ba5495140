"""Bets against a claim about a mean: evidence that may be looked at after every request, however long it lasts.

Whoever bets on "the next value is above `most`" cannot grow rich on average while the claim holds, whatever the stakes,
as long as a stake depends on the past only. So one over the capital is a p-value that is valid at every moment
(Ville's inequality; Waudby-Smith & Ramdas 2024, JRSS-B 86:1). With a `horizon` new bettors begin at every value and
their capital is added up, so that a change is found whenever it comes (Shin, Ramdas & Rinaldo 2023, "E-detectors").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

STAKES = np.array([0.25, 0.5, 1.0, 2.0, 4.0])  # times the best stake, were the mean above the claim by just the gap
_SHARES = np.array([1, 2, 10, 2, 1]) / 16  # of the capital that each stake begins with
_BOUND = 0.5  # of the capital, the most that one value may lose


@dataclass(frozen=True, slots=True)
class Claim:
    """What is bet against: "the mean of values between `low` and `high` is at most `most`".

    Stakes suit a mean of `most + gap`; others are found too, only later. `horizon` 0: the mean of all values since the
    beginning. Otherwise the claim is about every moment, and while it holds the chance of evidence of 1/alpha or more
    within the first k · horizon values is at most k · alpha.
    """

    most: float
    gap: float
    low: float = 0.0
    high: float = 1.0
    horizon: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be bet against."""
        if not self.low <= self.most < self.high or self.gap <= 0 or self.horizon < 0:
            raise BadInputError(
                f"A mean of at most {self.most:g} + {self.gap:g}, of values from {self.low:g} to {self.high:g}, "
                "cannot be tested.",
                "give a level within the values' range and a gap above 0.",
            )

    @property
    def limit(self) -> float:
        """The largest stake: no value loses more than half the capital."""
        return _BOUND / max(self.most - self.low, 1e-12)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Capital:
    """What the bettors own: their logarithms (…, stakes), the largest sum so far (…), and what was seen: n, Σx, Σx².

    Leading axes are experiments side by side.
    """

    logs: Numbers
    peak: Numbers
    n: int
    total: Numbers
    squares: Numbers

    @classmethod
    def begin(cls, claim: Claim, shape: tuple[int, ...] = ()) -> Self:
        """Before the first value: one unit, or nothing where bettors come one by one."""
        first = -math.inf if claim.horizon else 0.0
        logs = np.full((*shape, len(STAKES)), first)
        return cls(logs, np.full(shape, first), 0, np.zeros(shape), np.zeros(shape))

    @property
    def p_value(self) -> Numbers:
        """The p-value of the claim (…), valid at every moment; without a horizon."""
        return np.exp(-np.maximum(self.peak, 0.0))

    @property
    def mean(self) -> Numbers:
        """The mean of all values seen (…)."""
        return self.total / max(self.n, 1)


def bet(capital: Capital, claim: Claim, x: NDArray[Any]) -> tuple[Capital, Numbers]:
    """The capital after values `x` (…, N), and the logarithm of its sum after each of them (…, N)."""
    x = np.asarray(x, dtype=np.float64)
    if not x.shape[-1]:
        return capital, np.zeros(x.shape)
    spread = _variance_before(capital, claim, x)
    stakes = STAKES * (claim.gap / (spread + claim.gap**2))[..., None]
    gains = np.log1p(np.minimum(stakes, claim.limit) * (x - claim.most)[..., None])
    logs = _owned(capital, claim, np.cumsum(gains, axis=-2))
    sums = np.logaddexp.reduce(logs + np.log(_SHARES), axis=-1)
    after = Capital(
        logs[..., -1, :],
        np.maximum(capital.peak, sums.max(axis=-1)),
        capital.n + x.shape[-1],
        capital.total + x.sum(axis=-1),
        capital.squares + (x * x).sum(axis=-1),
    )
    return after, sums


def _owned(capital: Capital, claim: Claim, gained: Numbers) -> Numbers:
    """Logarithms of what each stake's bettors own after each value, given the sums of log gains (…, N, stakes)."""
    if not claim.horizon:
        return capital.logs[..., None, :] + gained
    before = np.concatenate([np.zeros_like(gained[..., :1, :]), gained[..., :-1, :]], axis=-2)
    came = np.logaddexp.accumulate(-math.log(claim.horizon) - before, axis=-2)
    return gained + np.logaddexp(capital.logs[..., None, :], came)


def _variance_before(capital: Capital, claim: Claim, x: Numbers) -> Numbers:
    """The variance of all values before each of `x` (…, N), with one value of the widest spread added."""
    n = capital.n + np.arange(x.shape[-1])
    total = capital.total[..., None] + np.cumsum(x, axis=-1) - x
    squares = capital.squares[..., None] + np.cumsum(x * x, axis=-1) - x * x
    around = np.maximum(squares - total**2 / np.maximum(n, 1), 0.0)
    return (around + (claim.high - claim.low) ** 2 / 4) / (n + 1)


def interval(x: NDArray[Any], alpha: float, low: float = 0.0, high: float = 1.0) -> tuple[Numbers, Numbers]:
    """A confidence sequence for the mean of values `x` (…, N) between `low` and `high`: both ends after each value.

    At level 1 - `alpha` the mean is between them at all moments at once (predictable plug-in empirical Bernstein,
    Waudby-Smith & Ramdas 2024, theorem 2); ends only come nearer.
    """
    unit = (np.asarray(x, dtype=np.float64) - low) / (high - low)
    seen = np.arange(1, unit.shape[-1] + 1)
    mean = (0.5 + np.cumsum(unit, axis=-1)) / (seen + 1)
    off = (unit - mean) ** 2
    spread = (0.25 + np.cumsum(off, axis=-1)) / (seen + 1)
    first = np.ones_like(unit[..., :1])
    before, centre = (
        np.concatenate([0.25 * first, spread[..., :-1]], -1),
        np.concatenate([0.5 * first, mean[..., :-1]], -1),
    )
    stake = np.minimum(np.sqrt(2 * math.log(2 / alpha) / (before * seen * np.log1p(seen))), 0.75)
    weight = np.cumsum(stake, axis=-1)
    price = np.cumsum((unit - centre) ** 2 * (-np.log1p(-stake) - stake), axis=-1)
    middle, reach = np.cumsum(stake * unit, axis=-1) / weight, (math.log(2 / alpha) + price) / weight
    ends = np.maximum.accumulate(middle - reach, axis=-1), np.minimum.accumulate(middle + reach, axis=-1)
    return low + (high - low) * np.clip(ends[0], 0, 1), low + (high - low) * np.clip(ends[1], 0, 1)
