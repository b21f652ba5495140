"""Tests of a mean that is known to lie between zero and one: valid for every number of examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BET = 0.9  # the largest share of the capital that one example may lose


def hoeffding_bentkus(losses: NDArray[Any], most: float) -> float:
    """The p-value of "the mean of these losses (N,) in [0, 1] is at least `most`".

    The smaller of Hoeffding's bound in its relative-entropy form and Bentkus' (e times a binomial tail); the minimum
    is itself valid (Bates et al. 2021, Journal of the ACM 68:43, proposition 5).
    """
    from scipy.stats import binom

    n, mean = len(losses), float(np.mean(losses))
    if mean >= most or most <= 0:
        return 1.0
    if most >= 1:
        return 0.0 if most > 1 else float(mean**n)
    hoeffding = math.exp(-n * _entropy(mean, most))
    bentkus = math.e * float(binom.cdf(math.ceil(n * mean - 1e-9), n, most))
    return min(1.0, hoeffding, bentkus)


def betting(values: NDArray[Any], most: float, alpha: float, seed: int = 0) -> float:
    """The p-value of "the mean of these values (N,) in [0, 1] is at most `most`".

    One bets on each value to exceed `most`, the stake depending on those before it only; under the hypothesis the
    capital does not grow on average, so one over its maximum is a p-value (Ville; Waudby-Smith & Ramdas 2024, JRSS-B
    86:1). The stake is their predictable plug-in for N values, tuned to level `alpha`. The order is drawn by `seed`.
    """
    if not 0 < most < 1:
        return 1.0 if most >= 1 else float((values <= 0).all())
    x = np.random.default_rng(seed).permutation(np.asarray(values, dtype=float))
    seen = np.arange(2, len(x) + 2)
    mean = (0.5 + np.cumsum(x)) / seen
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / seen
    before = np.concatenate([[0.25], variance[:-1]])
    stake = np.minimum(np.sqrt(2 * math.log(1 / alpha) / (len(x) * before)), _BET / most)
    capital = np.cumsum(np.log1p(stake * (x - most)))
    return min(1.0, math.exp(-float(capital.max())))


def _entropy(a: float, b: float) -> float:
    """The relative entropy of a coin of chance `a` to one of chance `b`, in nats."""
    from scipy.special import rel_entr

    return float(rel_entr(a, b) + rel_entr(1 - a, 1 - b))
