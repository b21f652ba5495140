"""What a trial's sums say: quality where labels came, agreement where both answered, errors, compute, pace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pennyweight.serve.watch.mixture import Compared, ratios, shares, verdict
from pennyweight.serve.watch.sequential import Terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennyweight.serve.watch.sequential import Verdict
    from pennyweight.store.team.tallies import Tally


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a canary may not be worse by: points of quality, points of failed requests, share of compute.

    `pace` is by what share a token may take longer and be as good; as much again is not tolerated.
    """

    quality: float = 0.01
    errors: float = 0.01
    compute: float = 0.10
    pace: float = 0.25
    terms: Terms = field(default_factory=Terms)


def judged(canary: Tally, other: Tally, tolerance: Tolerance | None = None) -> Verdict:
    """Promote, roll back or wait, given the sums of a version on trial and of the one beside it.

    Once any label came, quality must be shown by labels; before that, in a shadow, by answers that agree.
    """
    tolerance = tolerance or Tolerance()
    return verdict(list(_compared(canary, other, tolerance)), tolerance.terms)


def _compared(canary: Tally, other: Tally, tolerance: Tolerance) -> Iterator[Compared]:
    yield shares("failed requests", (canary.errors, canary.requests), (other.errors, other.requests), tolerance.errors)
    if canary.labelled or other.labelled:
        wrong = [(each.labelled - each.quality, each.labelled) for each in (canary, other)]
        yield shares("quality", wrong[0], wrong[1], tolerance.quality)
    elif canary.compared:
        yield _unlike(canary, tolerance.quality)
    sums = [(each.compute_us, each.compute_sq, each.requests - each.errors) for each in (canary, other)]
    compute = ratios("compute", sums[0], sums[1], tolerance.compute)
    if compute is not None:
        yield compute
    pace = _pace(canary, other, 1 + tolerance.pace)
    if pace is not None:
        yield pace


def _pace(canary: Tally, other: Tally, times: float) -> Compared | None:
    """Whether a token takes more than so many `times` as long: texts that are continued together share their time."""
    here = canary.pace_us / times, canary.pace_sq / times**2, canary.paced
    name = f"time per token, beyond {times:g} times the other's,"
    return ratios(name, here, (other.pace_us, other.pace_sq, other.paced), times - 1)


def _unlike(canary: Tally, margin: float) -> Compared:
    """How often both answered differently: quality cannot have fallen by more."""
    share = (canary.compared - canary.agreed + 0.5) / (canary.compared + 1)
    worse = min(max(share, margin), 0.5)
    variance = worse * (1 - worse) / (canary.compared + 1)
    return Compared("agreement", share, variance, variance, canary.compared, margin, fine_only=True)
