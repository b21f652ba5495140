"""Exact tests for right and wrong answers: one model against a number, or two models on the same examples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAMMA = 1e-5  # the chance that a nuisance parameter lies outside its interval; it is added to the p-value
_REACH = 9.0  # standard deviations of the number of disagreements that are looked at; the rest counts as rejected
_GRID = 48  # nuisance values per pass: a fifth of their standard error apart, then refined around the largest
_MOST = 1 - 1e-9  # a loss of every right answer is no loss one can test for


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two models on the same `n` examples: only the first is right on `won`, only the second on `lost`."""

    n: int
    won: int
    lost: int
    right: int  # examples on which the second model is right

    @classmethod
    def of(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Pairs:
        """Count from two arrays (N,) that say which answers are right."""
        return cls(len(first), int((first & ~second).sum()), int((second & ~first).sum()), int(second.sum()))


def binomial(right: int, n: int, least: float) -> float:
    """The exact p-value of "the true share right is at most `least`", seeing `right` of `n`."""
    from scipy.stats import binom

    if least >= 1:
        return 1.0
    return float(binom.sf(right - 1, n, max(least, 0.0)))


def points(pairs: Pairs, margin: float) -> float:
    """The exact p-value of "the first model's share right is lower than the second's by `margin` or more".

    Outcomes are ordered by the score statistic of Tango (1998, Statistics in Medicine 17:891). The tail probability
    is exact and maximised over the unknown share of disagreements (Hsueh, Liu & Chen 2001, Biometrics 57:478) within
    a 1 - GAMMA confidence interval for it, and GAMMA is added (Berger & Boos 1994, JASA 89:1012). Given the number of
    disagreements the first model's wins are binomial, and many are most likely when the loss is no more than
    `margin`, so the maximum over all losses of `margin` or more lies on that boundary.
    """
    return _p_value(pairs.n, pairs.won, pairs.lost, (float(margin), float(margin)))


def ratio(pairs: Pairs, share: float, gamma: float = 1e-3) -> float:
    """The exact p-value of "the first model's share right is lower than the second's by `share` of it or more".

    Were the second model's true share right known to be s, the margin would be `share` × s. The order of outcomes is
    that of the margin `share` whatever s is, and then the tail probability falls as s grows; so it is largest at the
    lower end of a one-sided 1 - `gamma` interval for s, with `gamma` added.
    """
    least, _ = clopper_pearson(pairs.right, pairs.n, 2 * gamma)
    return min(1.0, _p_value(pairs.n, pairs.won, pairs.lost, (float(share), share * least)) + gamma)


def clopper_pearson(right: int, n: int, gamma: float) -> tuple[float, float]:
    """The exact two-sided interval for a share at confidence 1 - `gamma`."""
    from scipy.special import betaincinv

    low = float(betaincinv(right, n - right + 1, gamma / 2)) if right else 0.0
    high = float(betaincinv(right + 1, n - right, 1 - gamma / 2)) if right < n else 1.0
    return low, high


def statistic(won: NDArray[Any], lost: NDArray[Any], n: int, margin: float) -> NDArray[np.float64]:
    """Tango's score statistic: (won - lost + n·margin) over its standard deviation under the margin.

    The nuisance q, the share of wins, is its maximum-likelihood estimate under a true difference of -margin: the
    positive root of 2n q² - (won (1 - m) + lost (1 + m) - 2 n m) q - won m (1 - m) = 0.
    """
    slope = won * (1 - margin) + lost * (1 + margin) - 2 * n * margin
    q = (slope + np.sqrt(slope**2 + 8 * n * won * margin * (1 - margin))) / (4 * n)
    variance = n * np.maximum(2 * q + margin - margin**2, 0)
    above = won - lost + n * margin
    still = np.where(above == 0, 0.0, np.copysign(np.inf, above))
    return np.where(variance > 0, above / np.sqrt(np.where(variance > 0, variance, 1)), still)


@lru_cache(maxsize=65536)
def _p_value(n: int, won: int, lost: int, margins: tuple[float, float]) -> float:
    """The tail beyond the outcome seen, ordered by the first margin, where the true loss is the second."""
    order, margin = min(margins[0], _MOST), min(margins[1], _MOST)
    low, high = clopper_pearson(won + lost, n, GAMMA)
    low = max(low, margin)
    if low >= high:
        return GAMMA
    tail = _Tail.of(Pairs(n, won, lost, 0), order, margin, (low, high))
    shares = np.linspace(low, high, _GRID)
    best = 0.0
    for _ in range(3):
        chances = tail(shares)
        top = int(chances.argmax())
        best = max(best, float(chances[top]))
        shares = np.linspace(shares[max(top - 1, 0)], shares[min(top + 1, len(shares) - 1)], _GRID // 3)
    return min(1.0, best + GAMMA)


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """Outcomes at least as extreme as the one seen: for each number of disagreements, the fewest wins."""

    n: int
    margin: float
    disagree: NDArray[np.int64]
    wins: NDArray[np.int64]
    log_ways: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: Pairs, order: float, margin: float, shares: tuple[float, float]) -> _Tail:
        """Outcomes no less extreme than `pairs` in the `order` of a margin, for disagreement between two `shares`."""
        from scipy.special import gammaln

        n = pairs.n
        first = max(0, math.floor(n * shares[0] - _REACH * math.sqrt(n * shares[0]) - 1))
        last = min(n, math.ceil(n * shares[1] + _REACH * math.sqrt(n * shares[1]) + _REACH**2 / 2))
        disagree = np.arange(first, last + 1)
        seen = float(statistic(np.array(pairs.won), np.array(pairs.lost), n, order))
        wins = _fewest_wins(disagree, n, order, seen - 1e-9 * max(1.0, abs(seen)))
        log_ways = gammaln(n + 1) - gammaln(disagree + 1) - gammaln(n - disagree + 1)
        return cls(n, margin, disagree, wins, log_ways)

    def __call__(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Their probability if the models disagree on these shares (K,) of all examples, at the margin."""
        from scipy.special import bdtrc, xlog1py, xlogy

        rest = self.n - self.disagree
        log_weight = self.log_ways + xlogy(self.disagree, shares[:, None]) + xlog1py(rest, -shares[:, None])
        row, column = np.nonzero(log_weight > -40)
        weight = np.exp(log_weight[row, column])
        chance = ((shares - self.margin) / (2 * np.maximum(shares, 1e-300)))[row]
        disagree, wins = self.disagree[column], self.wins[column]
        extreme = np.where(wins > disagree, 0.0, np.where(wins <= 0, 1.0, bdtrc(wins - 1, disagree, chance)))
        covered = np.bincount(row, weights=weight, minlength=len(shares))
        tail = np.bincount(row, weights=weight * extreme, minlength=len(shares)).astype(np.float64)
        return tail + np.maximum(0.0, 1 - covered)


def _fewest_wins(disagree: NDArray[np.int64], n: int, margin: float, seen: float) -> NDArray[np.int64]:
    """The least number of wins whose statistic is at least `seen`, `disagree` + 1 if none is, by bisection."""
    low, high = np.full_like(disagree, -1), disagree + 1
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, disagree)
        enough = statistic(middle, disagree - middle, n, margin) >= seen
        high = np.where(enough & (high - low > 1), middle, high)
        low = np.where(~enough & (high - low > 1), middle, low)
    return high
