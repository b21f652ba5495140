"""What was counted, as plain values that can be added up over the processes of a server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self, final

SIZES = 12  # batches of up to 0, 1, 3, 7 … rows


@final
@dataclass(frozen=True, slots=True)
class Paid:
    """What the recorded requests of one tenant for one version add up to; money in nano-dollars."""

    requests: int = 0
    fed: int = 0
    made: int = 0
    cached: int = 0
    compute_ns: int = 0
    energy_uj: int = 0
    cost_nusd: int = 0

    def __add__(self, other: Paid) -> Paid:
        return Paid(*(getattr(self, name) + getattr(other, name) for name in Paid.__slots__))


@final
@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of one version by size, the rows of all of them, the rows that wait, and how many processes serve it.

    Of a language model also the tokens that were made in so many steps, those that a draft guessed and of them those
    that were right, and the texts that wait and that are continued.
    """

    sizes: tuple[int, ...] = (0,) * SIZES
    answered: int = 0
    waiting: int = 0
    serving: int = 0
    tokens: int = 0
    steps: int = 0
    guessed: int = 0
    right: int = 0
    texts_waiting: int = 0
    texts_running: int = 0

    def __add__(self, other: Batches) -> Batches:
        sizes = tuple(a + b for a, b in zip(self.sizes, other.sizes, strict=True))
        return Batches(sizes, *(getattr(self, name) + getattr(other, name) for name in Batches.__slots__[1:]))


@final
@dataclass(frozen=True, slots=True)
class Sums:
    """Replies by status and by seconds, what was paid by (tenant, model, version), batches by (model, version).

    `failed` are looks of the watch that could not be finished, `missed` answers that it had no room for; `processes`
    is how many were alive.
    """

    replies: dict[int, int]
    buckets: tuple[int, ...]
    total_s: float = 0.0
    failed: int = 0
    missed: int = 0
    processes: int = 0
    paid: dict[tuple[str, str, int], Paid] = field(default_factory=dict)
    batches: dict[tuple[str, int], Batches] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Self:
        paid, batches = dict(self.paid), dict(self.batches)
        for who, each in other.paid.items():
            paid[who] = paid.get(who, Paid()) + each
        for which, some in other.batches.items():
            batches[which] = batches.get(which, Batches()) + some
        return type(self)(
            dict(Counter(self.replies) + Counter(other.replies)),
            tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True)),
            self.total_s + other.total_s,
            self.failed + other.failed,
            self.missed + other.missed,
            self.processes + other.processes,
            paid,
            batches,
        )
