"""The fewest replicas that keep an objective, of every way to run one; what cannot reach the front is not followed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.layout.serving.objectives import PERCENT, WHAT
from pennyweight.layout.serving.queueing import forecast
from pennyweight.units import seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.deployments.choices import Choices
    from pennyweight.layout.deployments.rent import Market, Rent
    from pennyweight.layout.serving.objectives import Limit, Slo
    from pennyweight.layout.serving.pools import Sent
    from pennyweight.layout.serving.queueing import Arrivals, Queued

    Floats = NDArray[np.float64]

SLACK = 0.8  # bounds are of the mean load, and limits of a percentile: they are taken with room
_DOUBLINGS = 7
FULLEST = 0.95  # of what replicas can do is asked of them at most, or queues grow without end
_ROOM = 1.1  # what is advised to allow, over what is missed
_BETTER = 0.95  # a front has no steps smaller than this


@dataclass(frozen=True, slots=True)
class Reading:
    """A pool that only reads prompts: which way of `Choices` it is like, its instances, and their machines.

    No `rent`: they are on the machines of the pool that answers, of which one instance can do `answers_s` requests a
    second. `sent` is how requests fare until they come there.
    """

    at: int
    instances: int
    rent: Rent | None
    sent: Sent
    answers_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """One way of `Choices` with the fewest replicas that keep the objective: their machines, and how requests fare.

    Where another pool reads the prompts, `reading` is it and the replicas only answer.
    """

    at: int
    replicas: int
    rent: Rent
    queued: Queued
    tpot_s: float
    reading: Reading | None = None

    @property
    def usd_hour(self) -> float:
        """Dollars an hour of all machines."""
        beside = self.reading.rent if self.reading else None
        return self.rent.usd_hour + (beside.usd_hour if beside else 0.0)

    def beats(self, usd_hour: float, least_tpot_s: float) -> bool:
        """Whether nothing of these dollars, and no faster than this, is worth a line beside it."""
        return self.usd_hour <= usd_hour and self.tpot_s <= least_tpot_s / _BETTER


@dataclass(frozen=True, slots=True)
class Missed:
    """What is nearest to an objective that nothing keeps: how many times over it misses it, a sentence, and a fix."""

    times: float
    why: str
    fix: str

    @classmethod
    def of(cls, what: str, slo: Slo, queued: Queued) -> Self:
        """Of requests that fared so in a way that is called `what`, with plenty of replicas."""
        times, limit = slo.miss(queued)
        why = (
            f"Nothing that is rented keeps this objective: the nearest, {what}, takes {seconds(limit.taken_s(queued))} "
            f"{WHAT[limit.what]} at p{limit.percent:g}, not {seconds(limit.most_s)}, however many replicas there are."
        )
        allowed = ",".join(_allowed(each, max(each.taken_s(queued) * _ROOM, each.most_s)) for each in slo.limits)
        return cls(times, why, f"allow {allowed} or more, fewer bits (--precision), or more accelerators (--on).")


class Search:
    """Puts ways to run a replica to the arrivals, in order of the least they can cost."""

    def __init__(self, choices: Choices, market: Market, arrivals: Arrivals, slo: Slo) -> None:
        self.choices, self.market, self.arrivals, self.slo = choices, market, arrivals, slo
        self.followed = 0
        span = float(arrivals.at_s[-1] - arrivals.at_s[0])
        self.rate = (len(arrivals.at_s) - 1) / max(span, 1e-9)
        self.prompt, self.output = float(arrivals.prompt.mean()), float(arrivals.output.mean())
        self.least_tpot_s = choices.step_s + choices.request_s
        cases = zip(choices.serving, choices.devices.astype(int).tolist(), strict=True)
        self.usd = np.array([market.least_usd(case.accelerator.name, group) for case, group in cases])

    def front(self) -> list[Found]:
        """Ways that keep the objective and that none beats in both dollars and seconds per token; cheapest first."""
        return unbeaten(self.found())

    def found(self) -> list[Found]:
        """All ways that keep the objective, but for those that were beaten before they were followed."""
        cost = self._least_replicas() * self.usd
        order = np.argsort(cost, kind="stable")
        found: list[Found] = []
        for at in order[self._alone_misses()[order] <= 1].tolist():
            if not any(each.beats(cost[at], self.least_tpot_s[at]) for each in found):
                way = self._fewest(at)
                found += [way] if way is not None else []
        return found

    def nearest(self) -> Missed:
        """Of ways that do not keep the objective the one that misses it least."""
        at = int(self._alone_misses().argmin())
        case = self.choices.serving[at]
        queued = forecast(self.arrivals, self.choices.server(at, self._plenty(at)))
        what = f"{int(self.choices.devices[at])} × {case.accelerator.name} with {case.engine} in {case.gemm}"
        return Missed.of(what, self.slo, queued)

    @cached_property
    def throughput(self) -> Floats:
        """Requests per second (n,) of a replica whose room is all taken."""
        c = self.choices
        full_s = c.step_s + c.request_s * c.most
        return np.asarray(c.most / (self.output * full_s + c.most * self.prompt * c.prompt_token_s))

    def _least_replicas(self) -> Floats:
        """How many replicas (n,) it takes at least: by throughput, and by the limit per token at the mean load.

        A replica at λ requests per second needs step / (1 - λ · (prompt + output · request)) per token.
        """
        c = self.choices
        limit_s = self.slo.objective().tpot_s / SLACK
        each_s = self.prompt * c.prompt_token_s + self.output * c.request_s
        most = np.minimum(self.throughput, np.maximum(1 - c.step_s / limit_s, 1e-9) / each_s)
        return np.maximum(self.rate / most * SLACK, 1.0)

    def _alone_misses(self) -> Floats:
        """How many times over (n,) the limits are missed by requests that are alone; at most one: they may be kept."""
        c = self.choices
        missed = [self.least_tpot_s / each.most_s for each in self.slo.limits if each.what == "tpot"]
        for each in self.slo.limits:
            if each.what == "ttft":
                prompt = float(np.percentile(self.arrivals.prompt, each.percent))
                missed.append((c.fixed_s + c.step_s + prompt * c.prompt_token_s) / each.most_s)
        return np.asarray(np.max(missed, axis=0), dtype=np.float64)

    def _plenty(self, at: int) -> int:
        return self._start(at) << _DOUBLINGS

    def _start(self, at: int) -> int:
        """Replicas from which to look: half of those whose whole room the arrivals take on average."""
        return max(int(self.rate / self.throughput[at] / 2), 1)

    def _fewest(self, at: int) -> Found | None:
        """The fewest replicas that keep the objective, or None where plenty do not: doubled until they do, then halved.

        All looks are at the same numbers whatever the objective is, so that a stricter one never needs fewer.
        """
        kept = self._kept(at, self._plenty(at))
        if kept is None:
            return None
        low, high, tried = 0, self._start(at), None
        while high < self._plenty(at) and (tried := self._kept(at, high)) is None:
            low, high = high, 2 * high
        kept = tried or kept
        while high - low > 1:
            middle = (low + high) // 2
            tried = self._kept(at, middle)
            low, high, kept = (middle, high, kept) if tried is None else (low, middle, tried)
        case = self.choices.serving[at]
        rent = self.market.cheapest(case.accelerator.name, int(self.choices.devices[at]), high)
        return Found(at, high, rent, kept, float(np.percentile(kept.tpot_s, self.slo.percent("tpot"))))

    def _kept(self, at: int, replicas: int) -> Queued | None:
        if self.rate > FULLEST * replicas * self.throughput[at]:
            return None
        self.followed += 1
        queued = forecast(self.arrivals, self.choices.server(at, replicas))
        return queued if self.slo.miss(queued)[0] <= 1 else None


def unbeaten(found: list[Found]) -> list[Found]:
    """The front: by dollars, each faster per token than all before it by a step that is worth a line."""
    front: list[Found] = []
    for each in sorted(found, key=lambda one: (one.usd_hour, one.tpot_s)):
        if not front or each.tpot_s < front[-1].tpot_s * _BETTER:
            front.append(each)
    return front


def _allowed(limit: Limit, most_s: float) -> str:
    word = limit.what if limit.percent == PERCENT else f"{limit.what}_p{limit.percent:g}"
    return f"{word}={float(f'{most_s * 1e3:.2g}'):g}ms"
