"""The numbers of one process in Prometheus' text format, under names of its own and under OpenCost's `llm_*` names.

OpenCost's names and labels: https://opencost.io/docs/integrations/metrics and https://llm-d.ai/docs (inference cost).
A token is a unit here: a row of the input, or a token. Costs are what callers are charged, `cost_basis="usage"`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, final

from pennyweight.serve.counters import BOUNDS_S, Paid
from pennyweight.store.team.budgets import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from pennyweight.serve.answering.shelf import Served, Shelf
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.store.team.budgets import State

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BASIS_S = 15.0  # rates are over at least so long
_NUSD = 1e9
_MILLION = 1e6
_LLM = ("model_name", "model_version", "namespace", "cost_basis", "workload_type")
_PAID = (
    ("pennyweight_requests", "Requests that were answered and recorded.", "requests"),
    ("pennyweight_input_units", "Rows or tokens that went in.", "fed"),
    ("pennyweight_output_units", "Rows or tokens that came out.", "made"),
    ("pennyweight_cost_nanodollars", "What was charged.", "cost_nusd"),
)


@final
@dataclass(slots=True, eq=False)
class Scraped:
    """Turns the counters of a process into text; keeps an earlier look at them for rates."""

    shelf: Shelf
    teller: Teller
    _then_s: float = field(default_factory=time.monotonic, init=False)
    _then: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict, init=False)

    async def text(self) -> bytes:
        """Everything there is to say now; asks the store where budgets stand."""
        from prometheus_client import CollectorRegistry, generate_latest

        stands = await self.teller.book.run(lambda link: states(link, time.time_ns()))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(list(self._families(stands))))
        return generate_latest(registry)

    def _families(self, stands: Sequence[State]) -> Iterator[Metric]:
        yield from self._replied()
        yield from self._charged()
        yield from self._served()
        yield from _budgeted(stands)
        yield from self._as_llm()

    def _replied(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        counters = self.teller.book.counters
        replies = CounterMetricFamily("pennyweight_replies", "Replies by status.", labels=["code"])
        for status, count in sorted(counters.replies.items()):
            replies.add_metric([str(status)], count)
        errors = CounterMetricFamily("pennyweight_errors", "Replies of status 500 and above.")
        errors.add_metric([], sum(count for status, count in counters.replies.items() if status >= 500))
        latency = HistogramMetricFamily("pennyweight_reply_seconds", "From the request's head to its reply.")
        below = list(accumulate(counters.buckets))
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        latency.add_metric([], list(zip(bounds, below, strict=True)), counters.total_s)
        yield from (replies, errors, latency)

    def _charged(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        labels = ["tenant", "model", "version"]
        paid = _copied(self.teller.book.counters.paid)
        for name, told, of in _PAID:
            family = CounterMetricFamily(name, told, labels=labels)
            for (tenant, model, number), each in paid:
                family.add_metric([tenant, model, str(number)], getattr(each, of))
            yield family
        seconds = CounterMetricFamily("pennyweight_compute_seconds", "Seconds of compute.", labels=labels)
        energy = CounterMetricFamily(
            "pennyweight_energy_joules", "Energy, where a device's draw is known.", labels=labels
        )
        for (tenant, model, number), each in paid:
            seconds.add_metric([tenant, model, str(number)], each.compute_ns / 1e9)
            energy.add_metric([tenant, model, str(number)], each.energy_uj / 1e6)
        yield from (seconds, energy)

    def _served(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        labels = ["model", "version"]
        shown = GaugeMetricFamily("pennyweight_version_served", "1 for a version that may answer.", labels=labels)
        queue = GaugeMetricFamily("pennyweight_waiting_rows", "Rows that wait to be computed.", labels=labels)
        sizes = HistogramMetricFamily("pennyweight_batch_rows", "Rows computed together.", labels=labels)
        for each in {(each.version.model, each.name): each for each in self.shelf.all()}.values():
            of = [each.version.model, each.name]
            shown.add_metric(of, 1)
            queue.add_metric(of, each.lane.waiting)
            sizes.add_metric(of, *_sizes(each))
        yield from (shown, queue, sizes)

    def _as_llm(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        now_s = time.monotonic()
        took_s = max(now_s - self._then_s, 1e-3)
        hourly = GaugeMetricFamily("llm_total_hourly_cost", "Dollars per hour, of late.", labels=_LLM)
        per_token = GaugeMetricFamily(
            "llm_cost_per_million_tokens", "Dollars per million.", labels=(*_LLM, "phase", "allocation_method")
        )
        cached = GaugeMetricFamily(
            "llm_cache_savings_fraction", "Input units that were cached.", labels=[*_LLM[:3], _LLM[4]]
        )
        found = _by_version(_copied(self.teller.book.counters.paid))
        for (model, number), each in sorted(found.items()):
            units = each.fed + each.made
            old_nusd, _ = self._then.get((model, number), (0, 0))
            of = [model, str(number), "", "usage", "serving"]
            hourly.add_metric(of, (each.cost_nusd - old_nusd) / _NUSD * 3600 / took_s)
            per_token.add_metric([*of, "", ""], each.cost_nusd / _NUSD * _MILLION / units if units else 0.0)
            cached.add_metric([*of[:3], of[4]], each.cached / each.fed if each.fed else 0.0)
        if took_s >= _BASIS_S:
            self._then_s, self._then = now_s, {of: (each.cost_nusd, each.fed) for of, each in found.items()}
        yield from (hourly, per_token, cached)


def _budgeted(stands: Sequence[State]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["level", "owner", "period", "kind"]
    left = GaugeMetricFamily("pennyweight_budget_left_nanodollars", "What may still be spent.", labels=labels)
    used = GaugeMetricFamily("pennyweight_budget_used_ratio", "Spent, as a share of the limit.", labels=labels)
    warned = GaugeMetricFamily("pennyweight_budget_warning", "0, 80 or 100 percent.", labels=labels)
    for each in stands:
        of = [each.budget.level, each.budget.owner, each.budget.period, "hard" if each.budget.hard else "soft"]
        left.add_metric(of, each.left_nusd)
        used.add_metric(of, each.used)
        warned.add_metric(of, int(each.warning.rstrip("%") or 0))
    yield from (left, used, warned)


def _sizes(served: Served) -> tuple[list[tuple[str, float]], float]:
    """The lane's batches by size: those below 1, 2, 4 … rows, and how many rows they had together."""
    lane = served.lane
    below = accumulate(lane.sizes)
    buckets: list[tuple[str, float]] = [(str((1 << at) - 1), count) for at, count in enumerate(below)]
    buckets[-1] = ("+Inf", buckets[-1][1])
    return buckets, float(lane.answered)


def _copied(paid: dict[tuple[str, str, int], Paid]) -> list[tuple[tuple[str, str, int], Paid]]:
    """The entries at this moment, in order; the thread that records may add more meanwhile."""
    return sorted(paid.items(), key=itemgetter(0))


def _by_version(paid: list[tuple[tuple[str, str, int], Paid]]) -> dict[tuple[str, int], Paid]:
    found: dict[tuple[str, int], Paid] = {}
    for (_, model, number), each in paid:
        total = found.setdefault((model, number), Paid())
        for name in Paid.__slots__:
            setattr(total, name, getattr(total, name) + getattr(each, name))
    return found


@final
@dataclass(frozen=True, eq=False)
class _Collector:
    """What Prometheus' library wants to be given."""

    families: list[Any]

    def collect(self) -> Iterator[Any]:
        yield from self.families
