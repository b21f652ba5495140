"""The fewest instances of two pools, one that reads and one that answers, that keep an objective together."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.layout.deployments.apart import Apart
from pennyweight.layout.deployments.joined import Joined, Part
from pennyweight.layout.deployments.matching import Pairing, matched
from pennyweight.layout.deployments.search import FULLEST, SLACK, Found, Missed, Reading
from pennyweight.layout.serving.pools import answer, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.layout.deployments.lessons import Lessons
    from pennyweight.layout.deployments.search import Search
    from pennyweight.layout.serving.pools import Sent
    from pennyweight.layout.serving.queueing import Queued

    Floats = NDArray[np.float64]
    Kept = tuple[Queued, Sent]

_DOUBLINGS = 7
_READING = 0.8  # of the time instances read at most: beyond, composed seconds per token were measured far too low


@final
class Pairs:
    """Puts pools to the arrivals of a `search` two by two, in order of the least they can cost."""

    def __init__(self, search: Search, lessons: Lessons) -> None:
        self.search, self.joined = search, Joined(search.market)
        self.apart = Apart.of(search.choices, lessons, self.joined.net_byte_s)
        self.writers = self.apart.writers()
        self.followed = 0
        self.least_tpot_s = self.writers.step_s + self.writers.request_s

    @cached_property
    def throughput(self) -> Floats:
        """Requests per second (n,) of an instance that only answers, all its room taken."""
        w = self.writers
        return np.asarray(w.most / (self.search.output * (w.step_s + w.request_s * w.most)))

    @cached_property
    def pairs(self) -> Pairing:
        """The pairs (m,) that are looked at, with the least they cost and by how much they miss when alone."""
        search = self.search
        read_s = search.prompt * self.apart.token_s
        counts = np.maximum(search.rate * read_s / _READING, 1.0), self._least_writers()
        return matched(self.apart, self.joined, search, (*counts, self.least_tpot_s))

    def found(self, known: list[Found]) -> list[Found]:
        """All pairs that keep the objective, but for those that what is known or found beats unfollowed."""
        pairs, found = self.pairs, list(known)
        for at in np.argsort(pairs.usd, kind="stable").tolist():
            read, write = int(pairs.read[at]), int(pairs.write[at])
            least_s = float(self.least_tpot_s[write])
            if pairs.missed[at] > 1 or any(each.beats(float(pairs.usd[at]), least_s) for each in found):
                continue
            least = int(np.ceil(pairs.readers[at])), int(np.ceil(pairs.writers[at]))
            rent = self.joined.rent(*self._parts(read, write, least))
            if rent is None or any(each.beats(sum(one.usd_hour for one in rent if one), least_s) for each in found):
                continue
            way = self._fewest(read, write, least)
            found += [way] if way is not None else []
        return found[len(known) :]

    def nearest(self) -> Missed | None:
        """Of pairs that do not keep the objective the one that misses it least; None without any."""
        pairs = self.pairs
        if not len(pairs.read):
            return None
        at = int(pairs.missed.argmin())
        read, write = int(pairs.read[at]), int(pairs.write[at])
        least = int(np.ceil(pairs.readers[at])), int(np.ceil(pairs.writers[at]))
        queued, _ = self._follow(read, write, (least[0] << _DOUBLINGS, least[1] << _DOUBLINGS))
        case, group = self.writers.serving[write], int(self.writers.devices[write])
        first, devices = self.writers.serving[self.apart.at[read]], int(self.writers.devices[self.apart.at[read]])
        what = (
            f"{devices} × {first.accelerator.name} that read and {group} × {case.accelerator.name} that answer with "
            f"{case.engine} in {case.gemm}"
        )
        return Missed.of(what, self.search.slo, queued)

    def _least_writers(self) -> Floats:
        """How many instances that answer (n,) it takes at least; see `Search`, with prompts of no tokens."""
        w, search = self.writers, self.search
        limit_s = search.slo.objective().tpot_s / SLACK
        free = np.maximum(1 - w.step_s / limit_s, 1e-9) / np.maximum(search.output * w.request_s, 1e-12)
        return np.maximum(np.maximum(search.rate / free * SLACK, search.rate / self.throughput / FULLEST), 1.0)

    def _fewest(self, read: int, write: int, least: tuple[int, int]) -> Found | None:
        """The fewest that answer beside plenty that read, then the fewest that read beside these: neither starves."""
        plenty = least[0] << _DOUBLINGS, least[1] << _DOUBLINGS
        if self._kept(read, write, plenty) is None:
            return None
        answering, _ = _least(lambda count: self._kept(read, write, (plenty[0], count)), least[1], plenty[1])
        reading, (queued, sent) = _least(lambda count: self._kept(read, write, (count, answering)), least[0], plenty[0])
        rent = self.joined.rent(*self._parts(read, write, (reading, answering)))
        if rent is None:
            return None
        tpot_s = float(np.percentile(queued.tpot_s, self.search.slo.percent("tpot")))
        pool = Reading(int(self.apart.at[read]), reading, rent[1], sent, float(self.throughput[write]))
        return Found(write, answering, rent[0], queued, tpot_s, pool)

    def _kept(self, read: int, write: int, counts: tuple[int, int]) -> Kept | None:
        rate, prompt = self.search.rate, self.search.prompt
        wire = self.apart.wire(read, int(self.apart.kind[write]), counts)
        busiest = max(
            rate * prompt * float(self.apart.token_s[read]) / counts[0] / _READING * FULLEST,
            rate / float(self.throughput[write]) / counts[1],
            rate * prompt * wire.token_s / wire.lanes,
        )
        if busiest > FULLEST:
            return None
        self.followed += 1
        kept = self._follow(read, write, counts)
        return kept if self.search.slo.miss(kept[0])[0] <= 1 else None

    def _follow(self, read: int, write: int, counts: tuple[int, int]) -> Kept:
        wire = self.apart.wire(read, int(self.apart.kind[write]), counts)
        sent = send(self.search.arrivals, self.apart.readers(read, counts[0]), wire)
        return answer(self.search.arrivals, sent, self.writers.server(write, counts[1])), sent

    def _parts(self, read: int, write: int, counts: tuple[int, int]) -> tuple[Part, Part]:
        at = int(self.apart.at[read]), write
        one, other = (
            Part(self.writers.serving[each].accelerator.name, int(self.writers.devices[each]), count)
            for each, count in zip(at, counts, strict=True)
        )
        return one, other


def _least(kept: Callable[[int], Kept | None], start: int, most: int) -> tuple[int, Kept]:
    """The least number from `start` that is kept, as `most` is: doubled until it is, then halved back."""
    low, high = start - 1, start
    while (found := kept(high)) is None and high < most:
        low, high = high, min(2 * high, most)
    if found is None:
        raise ValueError(most)
    while high - low > 1:
        middle = (low + high) // 2
        tried = kept(middle)
        low, high, found = (middle, high, found) if tried is None else (low, middle, tried)
    return high, found
