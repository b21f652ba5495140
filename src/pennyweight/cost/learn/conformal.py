"""Conformal intervals around a prediction: how far off it was on groups it had not seen, with a finite-sample quantile.

Scores are `|log(measured / predicted)| / scale`; the interval is `predicted · exp(± width · scale)` and `width` a
quantile of the scores, so it holds whatever distribution errors have (Vovk, Gammerman & Shafer 2005; a scale per row:
Papadopoulos, Gammerman & Vovk 2008). Errors of one group (a model, a cluster) go together: what will be asked about is
a *new group*, and of these only as many were seen as there are groups. Where rows of a group are all alike, each of K
groups has the same mass 1/K, and a new one may be worse than all of them with a chance of 1/(K + 1) (hierarchical
conformal prediction: Dunn, Wasserman & Ramdas 2022; Lee, Barber & Willett 2023). Where they are not, a group of many
rows says more than one of few, and counts as the independent scores that it amounts to: n / (1 + (n - 1)·ρ) of n rows,
which is what makes the variance of a mean over groups least (the design effect: Kish 1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pennyweight.cost.learn.leaving import codes_of
from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Interval = tuple[NDArray[np.float64], NDArray[np.float64]]

COVERAGE = 0.9
_TINY = 1e-9  # sums of shares are compared up to this


@dataclass(frozen=True, slots=True)
class Conformal:
    """An interval of relative half-width `exp(width · scale) - 1`, meant to hold a share `coverage` of rows.

    `promised` is the share of rows of a new group that it holds whatever the errors look like, if groups come from one
    source: with K groups never more than K / (K + 1). It was made from `rows` rows of `groups` groups.
    """

    width: float
    coverage: float
    promised: float
    groups: int
    rows: int

    @classmethod
    def of(
        cls,
        log_errors: ArrayLike,
        groups: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        *,
        coverage: float = COVERAGE,
        strict: bool = False,
    ) -> Self:
        """Find the width from `log_errors` (n,), the log(measured / predicted) of rows whose group was left out.

        Without `groups` (n,) every row is a group of its own: split conformal prediction. `scale` (n,) above zero says
        how hard each row was to predict. NaN errors are rows not measured and left out.

        The share ρ of the scores' variance that lies between groups says how many independent scores the n rows of a
        group amount to: `n / (1 + (n - 1) ρ)`, all of them at ρ = 0 and one at ρ = 1. This is the mass of the group,
        spread over its rows. The quantile is taken at `coverage · (1 + 1/m)`, m being the sum over groups. `strict`: as
        at ρ = 1, which is right however much the rows of a group are alike, and wider than needed where they are not.
        """
        if not 0 < coverage < 1:
            raise BadInputError(f"No interval holds a share of {coverage:g}.", "ask for one between 0 and 1.")
        scores, codes = _scores(log_errors, groups, scale)
        counts = np.bincount(codes)
        amounts = independent(counts, 1.0 if strict else share_between(scores, codes))
        m = float(amounts.sum())
        order = np.argsort(scores)
        below = np.cumsum((amounts / counts)[codes][order]) / m
        at = int(np.searchsorted(below, min(coverage * (1 + 1 / m), 1.0) - _TINY))
        at = min(at, len(scores) - 1)
        held = float((1 / counts)[codes][order][: at + 1].sum()) / len(counts)
        promised = min(held, 1.0) * len(counts) / (len(counts) + 1)
        return cls(float(scores[order][at]), coverage, promised, len(counts), len(scores))

    def interval(self, value: ArrayLike, scale: ArrayLike = 1.0) -> Interval:
        """Low and high end (n,) around predictions (n,), given how hard each of them is to predict."""
        half = np.exp(self.width * np.asarray(scale, dtype=np.float64))
        middle = np.asarray(value, dtype=np.float64)
        return middle / half, middle * half

    def holds(self, log_errors: ArrayLike, scale: ArrayLike = 1.0) -> NDArray[np.bool_]:
        """Which errors (n,) are inside the interval."""
        found: NDArray[np.bool_] = np.abs(log_errors) <= self.width * np.asarray(scale) * (1 + _TINY)
        return found

    def __str__(self) -> str:
        source = f"{self.rows} rows of {self.groups} groups" if self.groups < self.rows else f"{self.rows} rows"
        if self.promised >= self.coverage - _TINY:
            return f"holds at least {100 * self.coverage:.0f}% of new rows (from {source})"
        promised = f"only {100 * self.promised:.0f}% can be promised for a group never seen"
        return f"meant to hold {100 * self.coverage:.0f}% of new rows; from {source} {promised}"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-compatible copy."""
        return {name: getattr(self, name) for name in ("width", "coverage", "promised", "groups", "rows")}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        try:
            width, coverage, promised = (float(body[name]) for name in ("width", "coverage", "promised"))
            return cls(width, coverage, promised, int(body["groups"]), int(body["rows"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"This is no conformal interval: {error!r}.", "fit it again.") from error


def independent(counts: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """How many independent scores each group (K,) of so many rows amounts to, if `share` of variance is between groups.

    One at a share of 1, as many as it has rows at 0.
    """
    found: NDArray[np.float64] = counts / (1 + (counts - 1) * share)
    return found


def share_between(scores: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """The share of the variance of scores (n,) that lies between numbered groups (n,).

    Estimated by one-way analysis of variance of the scores' ranks (Donner & Koval 1980, unequal group sizes), ranks
    because a few huge scores would hide it. One group alone is all alike, as far as is known.
    """
    counts = np.bincount(codes)
    groups, rows = len(counts), len(codes)
    if groups in {1, rows}:
        return 1.0
    ranks = np.argsort(np.argsort(scores)).astype(np.float64)
    means = np.bincount(codes, ranks) / counts
    within = float(((ranks - means[codes]) ** 2).sum()) / (rows - groups)
    between = float((counts * (means - ranks.mean()) ** 2).sum()) / (groups - 1)
    size = (rows - float((counts**2).sum()) / rows) / (groups - 1)
    share = (between - within) / max(between + (size - 1) * within, _TINY)
    return min(max(share, 0.0), 1.0)


def _scores(
    log_errors: ArrayLike, groups: ArrayLike | None, scale: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    errors = np.asarray(log_errors, dtype=np.float64)
    scales = np.ones(len(errors)) if scale is None else np.asarray(scale, dtype=np.float64)
    codes = np.arange(len(errors)) if groups is None else np.asarray(groups)
    if not len(errors) == len(scales) == len(codes):
        raise BadInputError(
            f"There are {len(errors)} errors, {len(codes)} groups and {len(scales)} scales.", "give one each per row."
        )
    known = ~np.isnan(errors)
    if not known.any() or not (math.inf > scales[known]).all() or not (scales[known] > 0).all():
        raise BadInputError(
            "An interval needs errors of measured rows, and scales above zero.", "leave out rows without either."
        )
    return np.abs(errors[known]) / scales[known], codes_of(codes[known])
