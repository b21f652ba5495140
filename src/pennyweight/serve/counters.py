"""What one process has answered and charged since it began, counted in plain numbers: a microsecond per request."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from pennyweight.store.team.usage import Request

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@final
@dataclass(slots=True, eq=False)
class Paid:
    """What the recorded requests of one tenant for one version add up to; money in nano-dollars."""

    requests: int = 0
    fed: int = 0
    made: int = 0
    cached: int = 0
    compute_ns: int = 0
    energy_uj: int = 0
    cost_nusd: int = 0

    def add(self, request: Request) -> None:
        """Count one more."""
        units = request.units
        self.requests += 1
        self.fed += units.fed
        self.made += units.made
        self.cached += units.cached
        self.compute_ns += units.compute_ns
        self.energy_uj += units.energy_uj
        self.cost_nusd += request.cost_nusd


@final
@dataclass(slots=True, eq=False)
class Counters:
    """Replies by status, their seconds in buckets, and what was paid by (tenant, model, version).

    `replied` belongs to the event loop and `wrote` to the thread that records; each has numbers of its own.
    """

    replies: dict[int, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0
    paid: dict[tuple[str, str, int], Paid] = field(default_factory=dict)

    def replied(self, status: int, took_s: float) -> None:
        """Count a reply."""
        self.replies[status] = self.replies.get(status, 0) + 1
        self.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        self.total_s += took_s

    def wrote(self, request: Request) -> None:
        """Count a request whose row is on the disk."""
        of = (request.tenant, request.model, request.number)
        found = self.paid.get(of)
        if found is None:
            found = self.paid[of] = Paid()
        found.add(request)
