"""How many requests a second one process answers in time, and what each of them then costs.

While a batch of n requests is computed, which takes ``s = a + b n`` seconds, those that arrive are the next one: about
λ s of them at λ requests a second. So ``m = λ a / (1 - ρ) + ρ`` wait, with ``ρ = λ b``, and their number has the
variance ``v = m / (1 - ρ²)`` of such a chain (a branching process with immigration). With the one who asks, there are
in one of a hundred cases

    q = 1 + m + 2.33 √v + 1.47 v / m

(Cornish and Fisher 1938, with the skewness 2 √v / m of a gamma distribution). A request waits for the batch that is
computed when it comes, then for its own, and twice for the disk, where one batch of rows is written while the next one
fills: ``p99 = 2 (a + b q) + 2 w``. A simulation of that queue keeps it (`tests/serve/emitting/test_capacity.py`).

The rate is the highest λ whose p99 is within the objective, and at most 80% of 1 / b, for what is full all the time has
no room for a wave. ``usd = usd_hour / (3600 rate)`` falls as the rate grows: what is as full as the objective allows is
as cheap as the objective allows, and that is what is scaled by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pennyweight.errors import BadInputError
from pennyweight.units import seconds

REQUEST_S = 1.5e-4
"""Processor seconds of a request beside its model: HTTP, JSON, limits, its row (`bench.serve`, Zen 5)."""
COMMIT_S = 2e-3
"""One durable transaction on a disk of a cloud."""
_FULL = 0.8
_99 = 2.33
_SKEW = (_99**2 - 1) / 3
_HALVINGS = 60
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one process can do: a batch takes `batch_s` and every request of it `each_s` more; p99 within `slo_s`."""

    batch_s: float
    each_s: float
    slo_s: float

    def __post_init__(self) -> None:
        if not (self.each_s > 0 and self.batch_s >= 0 and self.slo_s > 0):
            raise BadInputError("A replica cannot be planned in no time.", "give seconds above zero.")
        least_s = self.p99_s(0.0)
        if not self.slo_s > least_s:
            raise BadInputError(
                f"Nothing is answered within {seconds(self.slo_s)}: one request alone takes {seconds(least_s)}.",
                "allow more with --slo-ms, or serve a cheaper version.",
            )

    def p99_s(self, rate_s: float) -> float:
        """The seconds within which 99 of 100 are answered at `rate_s` requests a second; infinite beyond what fits."""
        busy = rate_s * self.each_s
        if busy >= 1:
            return math.inf
        waiting, spread = self._waiting(rate_s), 1 / (1 - busy**2)
        skew = _SKEW * spread * min(1.0, 2 * waiting)  # where hardly anybody waits there is no tail
        largest = 1 + waiting + _99 * math.sqrt(waiting * spread) + skew
        return 2 * (self.batch_s + self.each_s * largest) + 2 * COMMIT_S

    def _waiting(self, rate_s: float) -> float:
        """How many wait at a rate, on average."""
        return rate_s * self.batch_s / (1 - rate_s * self.each_s) + rate_s * self.each_s

    @property
    def rate_s(self) -> float:
        """The most requests a second of which 99 of 100 are answered in time."""
        low, high = 0.0, _FULL / self.each_s
        if self.p99_s(high) <= self.slo_s:
            return high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.p99_s(middle) <= self.slo_s else (low, middle)
        return low

    def ongoing(self, rate_s: float) -> float:
        """Requests that are under way at once at a rate: by Little's law rate · seconds, a batch and a half each."""
        batch = max(1.0, self._waiting(rate_s))
        return rate_s * (1.5 * (self.batch_s + self.each_s * batch) + 2 * COMMIT_S)


def request_usd(usd_hour: float, rate_s: float) -> float:
    """What a request costs on a machine of `usd_hour` that answers `rate_s` a second."""
    return usd_hour / (_HOUR_S * rate_s)
