"""A canary beside what is in production: promote, rollback or wait, decided at every request, at a stated level.

Each request goes to the canary by lot, with a known chance. Its loss, less what was usual before, divided by the
chance of its way, is an unbiased look at the difference of both versions, whatever else changes over time (Waudby-Smith
et al. 2024, "Anytime-valid off-policy inference"). The means of such looks are bet against (`bets`). Where both
versions answer every request, the difference itself is looked at, which needs a small part of the requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.serve.watch.bets import Capital, Claim, bet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

Choice = Literal["promote", "rollback", "wait"]
_MOST_ONE_SIDED = 1e-3  # a smaller chance of one way would make single requests weigh too much


@dataclass(frozen=True, slots=True)
class Terms:
    """When a canary is decided about.

    `margin`: the loss that is not tolerated, 0.01 for one point. `alpha`: the most chance that one that is no worse is
    rolled back. `beta`: the most chance that one that is worse by the margin or more is promoted. `most`: requests
    after which it is decided by the better guess (0: never).
    """

    margin: float = 0.01
    alpha: float = 0.05
    beta: float = 0.05
    most: int = 0

    def __post_init__(self) -> None:
        """Refuse what decides nothing."""
        if not (0 < self.margin < 1 and 0 < self.alpha < 0.5 and 0 < self.beta < 0.5 and self.most >= 0):
            raise BadInputError(
                f"A canary cannot be judged by a margin of {self.margin:g} at levels {self.alpha:g} and {self.beta:g}.",
                "give a margin such as 0.01 and levels such as 0.05.",
            )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a canary, why, and the evidence: both p-values, requests seen, and how much worse it looks."""

    choice: Choice
    why: str
    p_worse: float = 1.0
    p_not_fine: float = 1.0
    n: int = 0
    difference: float = 0.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """The evidence about one loss between 0 and 1 (an error, a wrong answer, a capped cost or latency).

    `worse` bets against "the canary loses no more", `fine` against "it loses more by the margin or worse". Leading axes
    of all arrays are canaries side by side.
    """

    worse: Capital
    fine: Capital
    usual: Capital  # of the losses of both; only its mean counts
    terms: Terms
    reach: float  # the most that one look can weigh

    @classmethod
    def begin(cls, terms: Terms, least_share: float = 0.01, shape: tuple[int, ...] = ()) -> Self:
        """Before the first request; no request's chance of either way may be less than `least_share`.

        Raises `BadInputError` for a share that is none.
        """
        if not _MOST_ONE_SIDED <= least_share <= 0.5:
            raise BadInputError(
                f"A canary cannot be judged where one version gets a share of {least_share:g} of requests.",
                f"give between {_MOST_ONE_SIDED:g} and 0.5.",
            )
        return cls._of(terms, 1 / least_share, shape)

    @classmethod
    def beside(cls, terms: Terms, shape: tuple[int, ...] = ()) -> Self:
        """Before the first request that both versions answer."""
        return cls._of(terms, 1.0, shape)

    @classmethod
    def _of(cls, terms: Terms, reach: float, shape: tuple[int, ...]) -> Self:
        worse, fine = _claims(terms, reach)
        first = Capital.begin(worse, shape)
        return cls(first, Capital.begin(fine, shape), first, terms, reach)

    def saw(self, canary: NDArray[np.bool_], loss: NDArray[Any], share: float | NDArray[Any]) -> Canary:
        """After requests (…, N): whether each went to the canary, its loss, and the chance that it went there."""
        seen = np.asarray(loss, dtype=np.float64)
        n = self.usual.n + np.arange(seen.shape[-1])
        before = (self.usual.total[..., None] + np.cumsum(seen, axis=-1) - seen) / np.maximum(n, 1)
        signs = np.where(canary, 1 / np.asarray(share), -1 / (1 - np.asarray(share)))
        after = replace(self.usual, n=self.usual.n + seen.shape[-1], total=self.usual.total + seen.sum(axis=-1))
        return replace(self.saw_difference(signs * (seen - before)), usual=after)

    def saw_difference(self, difference: NDArray[Any]) -> Canary:
        """After requests (…, N) that both answered: the canary's loss less the other's."""
        worse, fine = _claims(self.terms, self.reach)
        lost, _ = bet(self.worse, worse, difference)
        held, _ = bet(self.fine, fine, -np.asarray(difference, dtype=np.float64))
        return replace(self, worse=lost, fine=held)


def verdict(canaries: Mapping[str, Canary]) -> Verdict:
    """What to do, given the evidence about each loss by its name (single canaries, not many side by side).

    Roll back as soon as one loss is surely worse, at a level that all of them share; promote when every one is surely
    less than the margin worse, which needs no sharing (intersection-union test, Berger 1982).
    """
    if not canaries:
        raise BadInputError("Without any loss a canary cannot be judged.", "give at least one, such as errors.")
    name, worst = min(canaries.items(), key=lambda each: float(each[1].worse.p_value))
    slowest, doubt = max(canaries.items(), key=lambda each: float(each[1].fine.p_value))
    terms, n = worst.terms, min(each.worse.n for each in canaries.values())
    difference = float(worst.worse.mean)
    found = Verdict("wait", "", float(worst.worse.p_value), float(doubt.fine.p_value), n, difference)
    if found.p_worse <= terms.alpha / len(canaries):
        return replace(found, choice="rollback", why=f"{name} is worse by {difference:.2g} after {n} requests")
    if found.p_not_fine <= terms.beta:
        return replace(found, choice="promote", why=f"worse by less than {terms.margin:g} after {n} requests")
    if terms.most and n >= terms.most:
        return _guessed(found, canaries, terms)
    return replace(found, why=f"not sure yet about {slowest} after {n} requests")


def _guessed(found: Verdict, canaries: Mapping[str, Canary], terms: Terms) -> Verdict:
    """Out of patience: the nearer of "equal" and "worse by the margin"."""
    guess = max(float(each.worse.mean) for each in canaries.values())
    choice: Choice = "promote" if guess < terms.margin / 2 else "rollback"
    return replace(found, choice=choice, why=f"not sure after {found.n} requests; it looks worse by {guess:.2g}")


def needed(terms: Terms, share: float, loss: float, chance: float = 0.95) -> int:
    """About how many requests it takes to see, with that `chance`, a canary that is worse by the margin.

    `loss` is the mean loss of either; `share` the canary's share of requests. The logarithm of the capital is a walk of
    drift g and variance 2g a step, g = margin² / (2 · variance of a look); it must climb to log(1/alpha) and what the
    mixture of stakes costs. Where both answer every request, `share` is 0 and `loss` how often they differ.
    """
    variance = loss if not share else loss * (1 - loss) * (1 / share + 1 / (1 - share))
    drift = terms.margin**2 / (2 * (variance + terms.margin**2))
    climb = math.log(1 / terms.alpha) + math.log(1.6)
    from scipy.special import ndtri

    z = float(ndtri(chance))
    return math.ceil(((z * math.sqrt(2) + math.sqrt(2 * z * z + 4 * climb)) / 2) ** 2 / drift)


def bounded(values: NDArray[Any], most: float) -> Numbers:
    """Costs or latencies as losses between 0 and 1: shares of `most`, beyond which nothing counts."""
    if most <= 0:
        raise BadInputError(f"Values cannot be measured in shares of {most:g}.", "give the most that is tolerated.")
    return np.clip(np.asarray(values, dtype=np.float64) / most, 0.0, 1.0)


def _claims(terms: Terms, reach: float) -> tuple[Claim, Claim]:
    """The claims "no worse" and "worse by the margin or more", for looks that weigh at most `reach`."""
    return (
        Claim(0.0, terms.margin, -reach, reach),
        Claim(-terms.margin, terms.margin, -reach, reach),
    )
