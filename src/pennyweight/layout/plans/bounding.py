"""The search behind a plan: lots in order of the least they can cost; what cannot reach the front is never timed."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.plans.lots import Lot, Points
from pennyweight.layout.plans.renting import Rented
from pennyweight.layout.plans.searching import Best, Field, Site
from pennyweight.layout.plans.spreading import ANY
from pennyweight.layout.plans.stacks import choices_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core.layout import Layout
    from pennyweight.layout.plans.renting import Terms
    from pennyweight.layout.plans.training import TrainWork

    Floats = NDArray[np.float64]

_HOUR_S = 3600.0


@dataclass(slots=True)
class _Cluster:
    """The machines of one or two lots (on demand, spare): all their layouts, and what was timed so far."""

    field: Field
    best: Best
    done: NDArray[np.bool_]

    @classmethod
    def of(cls, field: Field) -> _Cluster:
        counts = np.unique(field.spread.rows["devices"])
        blank = np.zeros(len(counts), dtype=np.int64)
        none = np.full(len(counts), np.inf)
        return cls(
            field, Best(counts, none.copy(), blank.copy(), blank.copy(), none.copy()), np.zeros(len(counts), dtype=bool)
        )


class Search:
    """All lots for some work; `front` may be asked for more than one pair of limits and times nothing twice."""

    def __init__(self, work: TrainWork, terms: Terms, lots: Sequence[Lot], most: int) -> None:
        self._work, self._terms = work, terms
        self._fields: dict[tuple[int, ...], Field | None] = {}  # by what layouts follow from
        self._clusters: dict[tuple[Site, int], _Cluster] = {}
        self.timed = self.configurations = 0
        least = {lot: seconds for lot in lots if (seconds := lot.least_device_s(work, terms)) is not None}
        self._lots: list[tuple[Lot, float, float]] = []  # with device-seconds and dollars at least
        for lot, device_s in least.items():
            field = self._cluster(lot, most)
            if field is not None:
                self.configurations += len(field.field.spread) * len(lot.offers)
                usd = float(lot.prices.min()) / lot.machine_devices * device_s / _HOUR_S
                self._lots.append((lot, device_s, usd))
        self._lots.sort(key=itemgetter(2))

    def front(self, deadline_s: float, budget_usd: float) -> Points:
        """What nothing beats in dollars and seconds, within these limits."""
        front = Points.together([])
        for number, (lot, device_s, usd) in enumerate(self._lots):
            cluster = self._clusters[lot.site, lot.machine_devices]
            least_s = device_s / cluster.best.devices
            hopeful = (least_s <= deadline_s) & (usd <= budget_usd)
            hopeful &= ~front.beats(least_s, np.full(len(least_s), usd))
            self._time(cluster, lot, hopeful & ~cluster.done)
            seconds, dollars = lot.costs(self._work, cluster.best, self._terms.care)
            within = (seconds <= deadline_s) & (dollars <= budget_usd)
            front = Points.together([front, Points.of(seconds, np.where(within, dollars, np.inf), number)]).front()
        return front

    def planned(self, front: Points, at: int) -> tuple[Rented, Layout, float, float, float]:
        """One point of a front: machines, layout, seconds of a step, expected seconds and dollars of all."""
        lot = self._lots[front.lot[at]][0]
        cluster, count = self._clusters[lot.site, lot.machine_devices], front.count[at]
        best = cluster.best
        layout = cluster.field.spread.layout(int(best.row[count]), int(best.trick[count]), self._work.precision)
        rent = Rented(lot.offers[front.offer[at]], int(best.devices[count]), lot.spare)
        return rent, layout, float(best.step_s[count]), float(front.seconds[at]), float(front.usd[at])

    def tried(self) -> list[tuple[Lot, Best]]:
        """Every lot, with what was found on its machines."""
        return [(lot, self._clusters[lot.site, lot.machine_devices].best) for lot, _, _ in self._lots]

    def _cluster(self, lot: Lot, most: int) -> _Cluster | None:
        key, kind = (lot.site, lot.machine_devices), (lot.site.domain, *lot.counts(most))
        if kind not in self._fields:
            self._fields[kind] = lot.field(self._work, most, choices_of(self._terms.stack, ANY))
        field = self._fields[kind]
        if field is not None and key not in self._clusters:
            self._clusters[key] = _Cluster.of(field)
        return self._clusters.get(key)

    def _time(self, cluster: _Cluster, lot: Lot, wanted: NDArray[np.bool_]) -> None:
        if not wanted.any():
            return
        terms, asked = self._terms, cluster.best.devices[wanted]
        found = cluster.field.best(lot.site, terms.stack, asked, terms.calibration)
        for name in ("step_s", "row", "trick", "least_byte"):
            getattr(cluster.best, name)[wanted] = getattr(found, name)
        cluster.done |= wanted
        self.timed += found.timed
