"""Which pool may read for which, and which of them can be the cheapest: whole arrays of pairs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.deployments.apart import Apart
    from pennyweight.layout.deployments.joined import Joined
    from pennyweight.layout.deployments.search import Search

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_EASY = 0.6  # of a limit: pools that take less to the first token alone can wait a while as well


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs (m,): a pool that reads and a way that answers, how many of each it takes at least, and dollars an hour.

    `missed` is how many times over the objective is missed by requests that are alone.
    """

    read: Places
    write: Places
    readers: Floats
    writers: Floats
    usd: Floats
    missed: Floats


def matched(apart: Apart, joined: Joined, search: Search, counts: tuple[Floats, Floats, Floats]) -> Pairing:
    """For each way that answers the pools that may read for it at the least dollars.

    Both run one engine in one precision on accelerators of one vendor, which have keys of one form. `counts` are the
    least of pools that read (r,), of ways that answer (n,), and the least seconds per token of these.
    """
    board = _Board(apart, joined, search, counts)
    cases = [apart.choices.serving[at] for at in apart.at.tolist()]
    forms = np.array([f"{case.engine} {case.gemm} {case.accelerator.vendor}" for case in cases])
    found = [board.chosen(np.flatnonzero(forms == form)) for form in np.unique(forms)]
    return Pairing(*(np.concatenate([getattr(each, name) for each in found]) for name in Pairing.__slots__))


@final
class _Board:
    """Dollars and seconds of pairs as tables: pools that read down, ways that answer across."""

    def __init__(self, apart: Apart, joined: Joined, search: Search, counts: tuple[Floats, Floats, Floats]) -> None:
        self.apart, self.search = apart, search
        self.readers, self.writers, self.least_tpot_s = counts
        cases = [apart.choices.serving[at] for at in apart.at.tolist()]
        names = [case.accelerator.name for case in cases]
        sold = {each: joined.places(*each) for each in set(zip(names, apart.choices.devices[apart.at], strict=True))}
        places = sorted({place for each in sold.values() for place in each})
        kinds = [sold[each] for each in zip(names, apart.choices.devices[apart.at], strict=True)]
        self.usd = np.array([[each.get(place, np.inf) for place in places] for each in kinds]).reshape(len(kinds), -1)
        self.device = np.unique(names, return_inverse=True)[1]

    def chosen(self, kinds: Places) -> Pairing:
        """The pairs of pools and ways of these `kinds` (k,) that can be the cheapest."""
        write = np.flatnonzero(np.isin(self.apart.kind, kinds))
        read = self._worthy(kinds)
        usd, first = self._dollars(read, write), self._first(read, write)
        token = [self.least_tpot_s[write] / each.most_s for each in self.search.slo.limits if each.what == "tpot"]
        missed = np.max([first, *(np.broadcast_to(each, first.shape) for each in token)], axis=0)
        same = self.device[read][:, None] == self.device[self.apart.kind[write]]
        picked = np.zeros(usd.shape, dtype=np.bool_)
        for fine in (first <= 1, first <= _EASY, (first <= 1) & same):
            best = np.where(fine, usd, np.inf).argmin(axis=0)
            picked[best, np.arange(len(write))] = True
        rows, columns = np.nonzero(picked & np.isfinite(usd))
        one, other = read[rows], write[columns]
        return Pairing(
            read=one,
            write=other,
            readers=self.readers[one],
            writers=self.writers[other],
            usd=usd[rows, columns],
            missed=missed[rows, columns],
        )

    def _worthy(self, kinds: Places) -> Places:
        """Of pools of one accelerator those that none beats in both devices' seconds and seconds of a prompt."""
        apart, kept = self.apart, []
        work = apart.token_s * apart.choices.devices[apart.at]
        first = apart.fixed_s + self.search.prompt * apart.token_s
        for device in np.unique(self.device[kinds]):
            least = np.inf
            mine = kinds[self.device[kinds] == device]
            for each in mine[np.lexsort((first[mine], work[mine]))].tolist():
                if first[each] < least:
                    kept.append(each)
                    least = first[each]
        return np.array(kept, dtype=np.int64)

    def _dollars(self, read: Places, write: Places) -> Floats:
        """The least dollars an hour (p, d) in one place."""
        kind = self.apart.kind[write]
        found = np.full((len(read), len(write)), np.inf)
        for one, other in zip(self.usd[read].T, self.usd[kind].T, strict=True):
            if np.isfinite(one).any() and np.isfinite(other).any():
                np.minimum(found, (self.readers[read] * one)[:, None] + self.writers[write] * other, out=found)
        return found

    def _first(self, read: Places, write: Places) -> Floats:
        """How many times over (p, d) the limits to the first token are missed by requests that are alone."""
        apart, slo = self.apart, self.search.slo
        move_s = apart.move_s(read[:, None], apart.kind[write][None, :])
        still_s = (apart.fixed_s + apart.request_s)[read][:, None] + self.least_tpot_s[write]
        missed = np.zeros(move_s.shape)
        for each in slo.limits:
            if each.what == "ttft":
                prompt = float(np.percentile(self.search.arrivals.prompt, each.percent))
                took = still_s + prompt * (apart.token_s[read][:, None] + move_s)
                missed = np.maximum(missed, took / each.most_s)
        return missed
