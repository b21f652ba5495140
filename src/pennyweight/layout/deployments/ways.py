"""Ways to serve that keep an objective, with all their figures: seconds, dollars and joules, each with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from pennyweight.layout.deployments.pooled import (
    ReadPool,
    deployed,
    devices_of,
    off_of,
    pool_of,
    pool_split,
    scaled_usd,
    told_as,
)
from pennyweight.layout.energy.services import Use, served_of
from pennyweight.layout.energy.shapes import shape_of
from pennyweight.layout.energy.watts import JOULE
from pennyweight.layout.serving.objectives import WHAT
from pennyweight.layout.tables.finding import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.layout.deployments.ahead import Ahead
    from pennyweight.layout.deployments.demand import Demand
    from pennyweight.layout.deployments.lessons import Lessons
    from pennyweight.layout.deployments.rent import Rent
    from pennyweight.layout.deployments.search import Found, Search
    from pennyweight.layout.serving.fleet import Serving
    from pennyweight.layout.serving.objectives import Slo
    from pennyweight.layout.tables.energy_serving import Energy
    from pennyweight.layout.tables.table import Forecast

_HOUR_S, _MILLION, _MONTH_H = 3600.0, 1e6, 730.5
# Tokens of a prompt and of an answer, as they were in the tasks whose energy was measured (medians of ML.ENERGY v3).
TASKS = {"lm-arena-chat": (120.0, 780.0), "gpqa": (250.0, 5340.0), "sourcegraph-fim": (900.0, 250.0)}

Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ServedWay:
    """One way to serve: `replicas` of a deployment that takes `serving.concurrency` requests at once, and its machines.

    `ttft_s` and `tpot_s` are value and 90% interval at the percentiles that are promised; `held` is the share of
    requests that keep the objective, of which `goodput_s` a second; `used` the share of what the replicas could do
    with all their room taken, `running` the mean number of requests in a replica. `usd_output` is dollars per
    million tokens of answers, `usd_token` per million of all; `paid` is dollars an hour with the interval that
    follows from that of the seconds per token: with seconds so many times as long it takes so many times the
    replicas to be as busy, in whole machines of the same offer. `joule_token` is of a generated token, with its
    interval. `byte` is what a device holds. `split` is dollars an hour by what is paid for. `outside` is empty
    where deployments like it were measured, and else names the nearest. Where `reads` is another pool, that one reads
    all prompts, `rent` may hold it too, and the replicas only answer.
    """

    serving: Serving
    replicas: int
    rent: Rent
    ttft_s: Ends
    tpot_s: Ends
    held: float
    goodput_s: float
    used: float
    running: float
    usd_output: float
    usd_token: float
    paid: Ends
    split: Mapping[str, float]
    joule_token: Ends
    byte: float
    outside: str
    reads: ReadPool | None = None

    def deployed(self, longest: float) -> Serving:
        """All replicas as one deployment, for requests of up to `longest` tokens."""
        whole, reads = deployed(self.serving, self.replicas, longest), self.reads
        first = replace(reads.serving.decode, workers=reads.replicas) if reads else None
        return replace(whole, prefill=first)

    @property
    def usd_hour(self) -> float:
        """Dollars an hour of all machines."""
        beside = self.reads.rent if self.reads else None
        return self.rent.usd_hour + (beside.usd_hour if beside else 0.0)

    @property
    def pools(self) -> str:
        """Whether one pool reads and answers, or two do: `aggregated` or `disaggregated`."""
        return "aggregated" if self.reads is None else "disaggregated"

    @property
    def usd_month(self) -> Ends:
        """Dollars a month of all machines, and the 90% interval."""
        return _times(self.paid, _MONTH_H)

    @property
    def usd_million(self) -> Ends:
        """Dollars per million tokens of answers, and the 90% interval."""
        return _times(self.paid, self.usd_output / self.paid[0])

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return devices_of(self.serving)


def task_of(prompt: float, output: float) -> str:
    """Of the tasks whose energy was measured the one with requests most like these: nearest in logarithms of tokens."""
    return min(TASKS, key=lambda name: math.hypot(*np.log(np.divide(TASKS[name], (prompt, output)))))


def ways_of(
    found: list[Found], search: Search, demand: Demand, lessons: Lessons, ahead: Ahead
) -> tuple[ServedWay, ...]:
    """All figures of what was found; intervals are those of measured deployments, wider for what none of them did."""
    if not found:
        return ()
    running = [_running(one, search, demand) for one in found]
    pools = [pool_of(one, search) for one in found]
    cases = [search.choices.serving[one.at] for one in found]
    busy = [
        told_as(case, pool, one.replicas, b, demand.rate_s)
        for case, pool, one, b in zip(cases, pools, found, running, strict=True)
    ]
    alone = [replace(case, concurrency=b) for case, b in zip(cases, running, strict=True)]
    used = [demand.rate_s / one.replicas / _throughput(one, search) for one in found]
    said, joules, ways = lessons.forecasts(busy), _joules(alone), []
    told = {what: _widened(said[f"{what}_s"], _off(what, ahead, cases, pools)) for what in WHAT}
    for at, one in enumerate(found):
        ttft_s, tpot_s = (_ends(one, search.slo, what, told[what], at) for what in WHAT)
        usd = one.usd_hour / _HOUR_S / demand.rate_s * _MILLION
        held = one.queued.held(search.slo.objective())
        ways.append(
            ServedWay(
                serving=cases[at],
                replicas=one.replicas,
                rent=one.rent,
                ttft_s=ttft_s,
                tpot_s=tpot_s,
                held=held,
                goodput_s=held * demand.rate_s,
                used=used[at],
                running=running[at],
                usd_output=usd / demand.output,
                usd_token=usd / (demand.output + demand.prompt),
                paid=_paid(one, cases[at], pools[at], tpot_s),
                split=_split(one, search, used[at], pools[at]),
                joule_token=joules[at],
                byte=float(search.choices.byte[one.at]),
                outside=str(told["tpot"].outside[at]),
                reads=pools[at],
            )
        )
    return tuple(ways)


def _throughput(one: Found, search: Search) -> float:
    """Requests per second of a replica with all its room taken."""
    return one.reading.answers_s if one.reading else float(search.throughput[one.at])


def _running(one: Found, search: Search, demand: Demand) -> float:
    """Requests in a replica on average (Little's law), one at least."""
    mean = demand.rate_s / one.replicas * demand.output * float(one.queued.tpot_s.mean())
    return float(np.clip(mean, 1.0, search.choices.most[one.at]))


def _ends(one: Found, slo: Slo, what: str, told: Forecast, at: int) -> Ends:
    """Seconds at the percentile that is promised, and the 90% interval that measured deployments say is theirs."""
    value = float(np.percentile(getattr(one.queued, f"{what}_s"), slo.percent(what)))
    low, high = (float(end[at] / told.value[at]) for end in (told.low, told.high))
    return value, value * low, value * high


def _off(what: str, ahead: Ahead, cases: list[Serving], pools: list[ReadPool | None]) -> NDArray[np.float64]:
    """How far off (n,) what no measured row backs may be beside all else, in logarithms."""
    return np.array(
        [math.hypot(ahead.off[what], off_of(case, pool, what)) for case, pool in zip(cases, pools, strict=True)]
    )


def _widened(told: Forecast, off: NDArray[np.float64]) -> Forecast:
    """The forecast (n,) with an interval that is off by so much more (n,), in squares of logarithms."""
    below, above = np.log(told.value / told.low), np.log(told.high / told.value)
    low, high = told.value * np.exp(-np.hypot(below, off)), told.value * np.exp(np.hypot(above, off))
    return replace(told, low=low, high=high)


def _paid(one: Found, case: Serving, pool: ReadPool | None, tpot_s: Ends) -> Ends:
    """Dollars an hour of as many replicas as are as busy if seconds are those of the ends of their interval."""
    value, low, high = tpot_s
    cheap, dear = (scaled_usd(one.rent, case, one.replicas, pool, end / value) for end in (low, high))
    return one.usd_hour, cheap, dear


def _split(one: Found, search: Search, used: float, pool: ReadPool | None) -> dict[str, float]:
    """Dollars an hour by what is paid for; time is that of replicas with all their room taken, the rest is kept free.

    Reading prompts and writing answers share an iteration: each counts with the seconds that it adds.
    """
    choices, rent, at = search.choices, one.rent, one.at
    if pool is not None:
        return pool_split(one, pool, float(choices.devices[at]), min(used, 1.0))
    plain = rent.machines * rent.offer.device_hour_usd(spare=rent.spare) * rent.offer.devices
    rented_devices = rent.machines * rent.offer.devices
    working = plain * one.replicas * float(choices.devices[at]) / rented_devices
    used, most = min(used, 1.0), float(choices.most[at])
    read_s = most * search.prompt * float(choices.prompt_token_s[at])
    write_s = search.output * float(choices.step_s[at] + choices.request_s[at] * most)
    return {
        "answers": working * used * write_s / (read_s + write_s),
        "prompts": working * used * read_s / (read_s + write_s),
        "room kept free": working * (1 - used),
        "devices without a replica": plain - working,
        "starting again": max(rent.usd_hour - plain, 0.0),
    }


def _times(ends: Ends, scale: float) -> Ends:
    return ends[0] * scale, ends[1] * scale, ends[2] * scale


def _joules(cases: Sequence[Serving]) -> list[Ends]:
    """Joules of a generated token while so many requests run, with intervals; NaN in precisions nobody measured."""
    uses = [
        Use(
            devices=case.decode.tp * case.decode.attention_dp,
            batch=case.concurrency,
            output=case.output,
            task=task_of(case.prompt, case.output),
            precision=case.gemm,
            replicas=case.decode.attention_dp,
            prompt=case.prompt,
        )
        for case in cases
    ]
    shape = shape_of(cases[0].model)
    learnt = cast("Energy", shipped("energy_serving"))
    told = learnt.served(served_of([shape] * len(cases), [case.accelerator for case in cases], uses))[JOULE]
    return [(float(a), float(b), float(c)) for a, b, c in zip(told.value, told.low, told.high, strict=True)]
