"""A canary judged by sums alone: the mixture sequential probability ratio test on both versions' counts.

Where many processes answer, only their sums come together, so single requests cannot be bet on. The normal mixture
needs no more than sums (Robbins 1970; Johari, Koomen, Pekelis & Walsh 2022, Operations Research 70:1806); it is
always valid in the sense of a central limit theorem that holds at all times at once (Waudby-Smith, Arbour, Sinha,
Kennedy & Ramdas 2024, Annals of Statistics 52:2613), which is why it is silent until each version has answered some
hundred requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.sequential import Terms, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

LEAST = 200  # requests of each version, before which sums say nothing


@dataclass(frozen=True, slots=True)
class Compared:
    """How much more the canary loses than the other version: the difference of two means and its variance.

    `if_worse` is the variance that it would have, were it worse by the margin: few losses by luck are no precision.
    `margin` is what is not tolerated of this loss; `n` are the requests of the version that has fewer. If `fine_only`
    a small difference speaks for the canary and a large one not against it: answering differently is no mistake yet.
    """

    name: str
    difference: float
    variance: float
    if_worse: float
    n: int
    margin: float
    fine_only: bool = False

    @property
    def p_worse(self) -> float:
        """The p-value of "the canary loses no more"."""
        return 1.0 if self.fine_only else _p(self.difference, self.variance, self.margin)

    @property
    def p_not_fine(self) -> float:
        """The p-value of "the canary loses more by the margin or worse"."""
        return _p(self.margin - self.difference, self.if_worse, self.margin)


def shares(name: str, canary: tuple[float, int], other: tuple[float, int], margin: float) -> Compared:
    """Losses from 0 to 1 (errors, wrong answers), as (sum, requests) of the canary and of the other version.

    Half a loss and half a success are added to each, so that no loss yet is no certainty.
    """
    means = [(total + 0.5) / (n + 1) for total, n in (canary, other)]
    here, there = means[0] * (1 - means[0]) / (canary[1] + 1), means[1] * (1 - means[1]) / (other[1] + 1)
    worse = min(max(means[0], means[1] + margin), 1.0)
    more = max(here, worse * (1 - worse) / (canary[1] + 1))
    return Compared(name, means[0] - means[1], here + there, more + there, min(canary[1], other[1]), margin)


def ratios(
    name: str, canary: tuple[float, float, int], other: tuple[float, float, int], margin: float
) -> Compared | None:
    """Amounts (costs, seconds), as (sum, sum of squares, requests): by what share of the other's mean they are more.

    None while there is nothing to compare. The variance is that of the ratio of both means (delta method).
    """
    if min(canary[2], other[2]) < 2 or other[0] <= 0:
        return None
    means = [total / n for total, _, n in (canary, other)]
    spreads = [
        max(squares / n - mean**2, 0.0) / n for mean, (_, squares, n) in zip(means, (canary, other), strict=True)
    ]
    ratio = means[0] / means[1]
    variance = (spreads[0] + ratio**2 * spreads[1]) / means[1] ** 2
    return Compared(name, ratio - 1, max(variance, 1e-12), max(variance, 1e-12), min(canary[2], other[2]), margin)


def evidence(difference: NDArray[Any] | float, variance: NDArray[Any] | float, scale: float) -> Numbers:
    """The logarithm of the mixture's likelihood ratio for "above 0" against "at most 0"; its exponent's inverse is p.

    `difference` has a variance of `variance`; effects are mixed as the upper half of a normal distribution of `scale`.
    """
    from scipy.special import log_ndtr

    wide = np.asarray(variance) + scale**2
    lift = np.asarray(difference) * scale / np.sqrt(np.asarray(variance) * wide)
    return np.asarray(math.log(2) + (np.log(variance) - np.log(wide) + lift**2) / 2 + log_ndtr(lift))


def verdict(compared: Sequence[Compared], terms: Terms | None = None) -> Verdict:
    """What to do with a canary, given its losses beside the other version's; of `terms` the margin is not used.

    As in `sequential.verdict`: roll back when one is surely worse, at a level that all share; promote when each is
    surely less than its margin worse.
    """
    terms = terms or Terms()
    if not compared:
        raise BadInputError("Without any loss a canary cannot be judged.", "give at least one, such as errors.")
    n = min(each.n for each in compared)
    if n < LEAST:
        return Verdict("wait", f"only {n} requests of one version yet", n=n)
    worst, slow = min(compared, key=lambda each: each.p_worse), max(compared, key=lambda each: each.p_not_fine)
    p_worse, p_fine = worst.p_worse, slow.p_not_fine
    seen = (p_worse, p_fine, n, worst.difference)
    if p_worse <= terms.alpha / len(compared):
        return Verdict("rollback", f"{worst.name} is worse by {worst.difference:.2g} after {n} requests", *seen)
    if p_fine <= terms.beta:
        return Verdict("promote", f"nothing is worse by as much as is tolerated after {n} requests", *seen)
    if terms.most and n >= terms.most:
        fine = all(each.difference < each.margin / 2 for each in compared)
        text = f"not sure after {n} requests; {worst.name} looks worse by {worst.difference:.2g}"
        return Verdict("promote" if fine else "rollback", text, *seen)
    return Verdict("wait", f"not sure yet about {slow.name} after {n} requests", *seen)


def _p(above: float, variance: float, scale: float) -> float:
    return math.exp(-max(0.0, float(evidence(above, variance, scale))))
