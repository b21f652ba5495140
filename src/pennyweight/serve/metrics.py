"""The numbers of a server in Prometheus' text format, under names of its own and under OpenCost's `llm_*` names.

They are those of all its processes on this machine together, whichever of them is asked.

OpenCost's names and labels: https://opencost.io/docs/integrations/metrics and https://llm-d.ai/docs (inference cost).
A token is a unit here: a row of the input, or a token. Costs are what callers are charged, `cost_basis="usage"`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, final

from pennyweight.serve.counted import Paid
from pennyweight.serve.counters import BOUNDS_S
from pennyweight.store.team.budgets import states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from pennyweight.serve.answering.shelf import Shelf
    from pennyweight.serve.answering.teller import Teller
    from pennyweight.serve.counted import Batches, Sums
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
    """Turns the counters of a server into text; keeps an earlier look at them for rates."""

    shelf: Shelf
    teller: Teller
    _then_s: float = field(default_factory=time.monotonic, init=False)
    _then: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict, init=False)
    _tokens: dict[tuple[str, int], int] = field(default_factory=dict, init=False)

    async def text(self) -> bytes:
        """Everything there is to say now; asks the store where budgets stand."""
        from prometheus_client import CollectorRegistry, generate_latest

        stands = await self.teller.book.run(lambda link: states(link, time.time_ns()))
        counters = self.teller.book.counters
        counters.batched(self.shelf.all())
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(list(self._families(counters.total(), stands))))
        return generate_latest(registry)

    def _families(self, sums: Sums, stands: Sequence[State]) -> Iterator[Metric]:
        yield from _replied(sums)
        yield from _charged(sums)
        yield from _served(sums)
        yield from self._spoken(sums)
        yield from _watched(sums)
        yield from _budgeted(stands)
        yield from self._as_llm(sums)

    def _spoken(self, sums: Sums) -> Iterator[Metric]:
        """What language models do; rates are since the look that `_as_llm` keeps, which comes after this."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels, took_s = ["model", "version"], max(time.monotonic() - self._then_s, 1e-3)
        wait = GaugeMetricFamily("pennyweight_waiting_texts", "Texts that wait for their turn.", labels=labels)
        run = GaugeMetricFamily("pennyweight_running_texts", "Texts that are being continued.", labels=labels)
        rate = GaugeMetricFamily("pennyweight_tokens_per_second", "Tokens that were made, of late.", labels=labels)
        made = CounterMetricFamily("pennyweight_tokens", "Tokens that were made, also for nobody.", labels=labels)
        steps = CounterMetricFamily("pennyweight_steps", "Steps that all running texts took together.", labels=labels)
        guess = CounterMetricFamily("pennyweight_drafted_tokens", "Tokens that a draft guessed.", labels=labels)
        right = CounterMetricFamily("pennyweight_accepted_tokens", "Those of them that were right.", labels=labels)
        found = {of: each for of, each in sorted(sums.batches.items()) if each.steps or self._speaks(of)}
        for (model, number), each in found.items():
            of = [model, str(number)]
            wait.add_metric(of, each.texts_waiting)
            run.add_metric(of, each.texts_running)
            rate.add_metric(of, (each.tokens - self._tokens.get((model, number), 0)) / took_s)
            made.add_metric(of, each.tokens)
            steps.add_metric(of, each.steps)
            guess.add_metric(of, each.guessed)
            right.add_metric(of, each.right)
        if took_s >= _BASIS_S:
            self._tokens = {of: each.tokens for of, each in found.items()}
        yield from (wait, run, rate, made, steps, guess, right)

    def _speaks(self, of: tuple[str, int]) -> bool:
        return any((each.version.model, each.version.number) == of and each.choir for each in self.shelf.all())

    def _as_llm(self, sums: Sums) -> Iterator[Metric]:
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
        found = _by_version(sums.paid)
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


def _replied(sums: Sums) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    replies = CounterMetricFamily("pennyweight_replies", "Replies by status.", labels=["code"])
    for status, count in sorted(sums.replies.items()):
        replies.add_metric([str(status)], count)
    errors = CounterMetricFamily("pennyweight_errors", "Replies of status 500 and above.")
    errors.add_metric([], sum(count for status, count in sums.replies.items() if status >= 500))
    latency = HistogramMetricFamily("pennyweight_reply_seconds", "From the request's head to its reply.")
    below = list(accumulate(sums.buckets))
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    latency.add_metric([], list(zip(bounds, below, strict=True)), sums.total_s)
    yield from (replies, errors, latency)


def _charged(sums: Sums) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    labels = ["tenant", "model", "version"]
    paid = sorted(sums.paid.items(), key=itemgetter(0))
    for name, told, of in _PAID:
        family = CounterMetricFamily(name, told, labels=labels)
        for (tenant, model, number), each in paid:
            family.add_metric([tenant, model, str(number)], getattr(each, of))
        yield family
    seconds = CounterMetricFamily("pennyweight_compute_seconds", "Seconds of compute.", labels=labels)
    energy = CounterMetricFamily("pennyweight_energy_joules", "Energy, where a device's draw is known.", labels=labels)
    for (tenant, model, number), each in paid:
        seconds.add_metric([tenant, model, str(number)], each.compute_ns / 1e9)
        energy.add_metric([tenant, model, str(number)], each.energy_uj / 1e6)
    yield from (seconds, energy)


def _served(sums: Sums) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

    labels = ["model", "version"]
    shown = GaugeMetricFamily("pennyweight_version_served", "Processes in which a version may answer.", labels=labels)
    queue = GaugeMetricFamily("pennyweight_waiting_rows", "Rows that wait to be computed.", labels=labels)
    sizes = HistogramMetricFamily("pennyweight_batch_rows", "Rows computed together.", labels=labels)
    for (model, number), each in sorted(sums.batches.items()):
        of = [model, str(number)]
        if each.serving:
            shown.add_metric(of, each.serving)
            queue.add_metric(of, each.waiting)
        sizes.add_metric(of, *_sizes(each))
    yield from (shown, queue, sizes)


def _watched(sums: Sums) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    failed = CounterMetricFamily("pennyweight_watch_failures", "Looks of the watch that could not be finished.")
    missed = CounterMetricFamily("pennyweight_watch_missed", "Answers that the watch had no room to keep.")
    alive = GaugeMetricFamily("pennyweight_processes", "Processes that these numbers are the sums of, and that live.")
    for family, value in ((failed, sums.failed), (missed, sums.missed), (alive, sums.processes)):
        family.add_metric([], value)
        yield family


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


def _sizes(found: Batches) -> tuple[list[tuple[str, float]], float]:
    """Batches by size: those below 1, 2, 4 … rows, and how many rows they had together."""
    below = accumulate(found.sizes)
    buckets: list[tuple[str, float]] = [(str((1 << at) - 1), count) for at, count in enumerate(below)]
    buckets[-1] = ("+Inf", buckets[-1][1])
    return buckets, float(found.answered)


def _by_version(paid: Mapping[tuple[str, str, int], Paid]) -> dict[tuple[str, int], Paid]:
    found: dict[tuple[str, int], Paid] = {}
    for (_, model, number), each in paid.items():
        found[model, number] = found.get((model, number), Paid()) + each
    return found


@final
@dataclass(frozen=True, eq=False)
class _Collector:
    """What Prometheus' library wants to be given."""

    families: list[Any]

    def collect(self) -> Iterator[Any]:
        yield from self.families
