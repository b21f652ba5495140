"""The cheapest ways to serve a model to its users under an objective: every offer, engine, layout and precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.deployments.choices import Choices, Wanted, forecasts
from pennyweight.layout.deployments.rent import Market
from pennyweight.layout.deployments.search import Search
from pennyweight.layout.energy.services import Use, served_of
from pennyweight.layout.energy.shapes import shape_of
from pennyweight.layout.energy.watts import JOULE
from pennyweight.layout.serving.objectives import WHAT
from pennyweight.layout.serving.queueing import Arrivals
from pennyweight.layout.tables.finding import shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core.dims import Dims
    from pennyweight.layout.deployments.rent import Rent
    from pennyweight.layout.deployments.search import Found
    from pennyweight.layout.serving.fleet import Serving
    from pennyweight.layout.serving.objectives import Slo
    from pennyweight.layout.serving.traces import Trace
    from pennyweight.layout.tables.energy_serving import Energy
    from pennyweight.layout.tables.table import Forecast

    Floats = NDArray[np.float64]

MOST_REQUESTS = 20_000  # of a trace are followed; longer ones are drawn from, in blocks that keep bursts
_REQUESTS = 4096  # drawn where only a rate is given
_BLOCK = 1000
_HOUR_S, _MILLION = 3600.0, 1e6
_TASK = "lm-arena-chat"

Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests as they arrive, and the mean tokens of their prompts and answers."""

    arrivals: Arrivals
    rate_s: float
    prompt: float
    output: float

    @property
    def longest(self) -> float:
        """Tokens of the longest request, prompt and answer."""
        return float((self.arrivals.prompt + self.arrivals.output).max())

    @classmethod
    def of_trace(cls, trace: Trace) -> Demand:
        """The requests of a trace; of a long one a sample of blocks. Empty prompts and answers count as one token."""
        if len(trace) > MOST_REQUESTS:
            trace = trace.resampled(MOST_REQUESTS, block=_BLOCK)
        prompt, output = np.maximum(trace.prompt_tokens, 1.0), np.maximum(trace.output_tokens, 1.0)
        return cls(Arrivals(trace.arrival_s, prompt, output), trace.rate_s, float(prompt.mean()), float(output.mean()))

    @classmethod
    def at_rate(cls, rate_s: float, prompt: float, output: float) -> Demand:
        """Requests at random, `rate_s` per second, all of these lengths."""
        if not (0 < rate_s < np.inf and prompt >= 1 and output >= 1):
            raise BadInputError(
                f"{rate_s:g} requests per second of {prompt:g} tokens in and {output:g} out cannot be served.",
                "give a rate above zero, and a token or more each way.",
            )
        at_s = np.cumsum(np.random.default_rng(0).exponential(size=_REQUESTS)) / rate_s
        lengths = np.full(_REQUESTS, prompt), np.full(_REQUESTS, output)
        return cls(Arrivals(at_s, *lengths), rate_s, float(prompt), float(output))


@dataclass(frozen=True, slots=True)
class ServedWay:
    """One way to serve: `replicas` of a deployment that takes `serving.concurrency` requests at once, and its machines.

    `ttft_s` and `tpot_s` are value and 90% interval at the percentiles that are promised; `held` is the share of
    requests that keep the objective, of which `goodput_s` a second; `used` the share of what the replicas could do with
    all their room taken, `running` the mean number of requests in a replica. `usd_output` is dollars per million tokens
    of answers, `usd_token` per million of all. `joule_token` is of a generated token, with its interval. `byte` is what
    a device holds. `outside` is empty where deployments like it were measured, and else names the nearest.
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
    joule_token: Ends
    byte: float
    outside: str

    def deployed(self, longest: float) -> Serving:
        """All replicas as one deployment, for requests of up to `longest` tokens."""
        pool = replace(self.serving.decode, workers=self.replicas)
        users = self.serving.concurrency * self.replicas
        return replace(self.serving, decode=pool, concurrency=users, prompt=longest - self.serving.output)

    @property
    def usd_hour(self) -> float:
        """Dollars an hour of all machines."""
        return self.rent.usd_hour

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.serving.decode.tp * self.serving.decode.attention_dp


@dataclass(frozen=True, slots=True)
class ServePlan:
    """The front of dollars against seconds per token among ways that keep the objective, the cheapest first.

    Where it is empty, `why` says in one sentence what came nearest and what it misses, and `fix` what would be kept.
    `considered` ways to run a replica fit in memory, of which `followed` were put to the arrivals.
    """

    model: Dims
    demand: Demand
    slo: Slo
    front: tuple[ServedWay, ...]
    why: str
    fix: str
    considered: int
    followed: int

    @property
    def cheapest(self) -> ServedWay | None:
        """The one of fewest dollars; None where nothing keeps the objective."""
        return self.front[0] if self.front else None


def plan_serve(wanted: Wanted, demand: Demand, slo: Slo, market: Market | None = None) -> ServePlan:
    """Plan a model on all offers of the `market` (none: of all accelerators, on demand and spare).

    `wanted` says on which engines and in which precisions; its lengths are those of the `demand`. Each way to run a
    replica gets the fewest replicas that keep the objective. Raises `BadInputError` where the model fits nowhere.
    """
    wanted = replace(wanted, prompt=demand.prompt, output=demand.output)
    shop = market or Market.open()
    choices = Choices.of(wanted, shop.most())
    search = Search(choices, shop, demand.arrivals, slo)
    found = search.front()
    why, fix = ("", "") if found else search.nearest()
    ways = _ways(found, search, demand)
    return ServePlan(wanted.model, demand, slo, ways, why, fix, len(choices), search.followed)


def _ways(found: list[Found], search: Search, demand: Demand) -> tuple[ServedWay, ...]:
    if not found:
        return ()
    running = [_running(one, search, demand) for one in found]
    busy = [replace(search.choices.serving[one.at], concurrency=b) for one, b in zip(found, running, strict=True)]
    told, joules, ways = forecasts(busy), _joules(busy), []
    for at, one in enumerate(found):
        ttft_s, tpot_s = (_ends(one, search.slo, what, told[f"{what}_s"], at) for what in WHAT)
        usd = one.rent.usd_hour / _HOUR_S / demand.rate_s * _MILLION
        held = one.queued.held(search.slo.objective())
        ways.append(
            ServedWay(
                serving=search.choices.serving[one.at],
                replicas=one.replicas,
                rent=one.rent,
                ttft_s=ttft_s,
                tpot_s=tpot_s,
                held=held,
                goodput_s=held * demand.rate_s,
                used=demand.rate_s / one.replicas / float(search.throughput[one.at]),
                running=running[at],
                usd_output=usd / demand.output,
                usd_token=usd / (demand.output + demand.prompt),
                joule_token=joules[at],
                byte=float(search.choices.byte[one.at]),
                outside=str(told["tpot_s"].outside[at]),
            )
        )
    return tuple(ways)


def _running(one: Found, search: Search, demand: Demand) -> float:
    """Requests in a replica on average (Little's law), one at least."""
    mean = demand.rate_s / one.replicas * demand.output * float(one.queued.tpot_s.mean())
    return float(np.clip(mean, 1.0, search.choices.most[one.at]))


def _ends(one: Found, slo: Slo, what: str, told: Forecast, at: int) -> Ends:
    """Seconds at the percentile that is promised, and the 90% interval that measured deployments say is theirs."""
    value = float(np.percentile(getattr(one.queued, f"{what}_s"), slo.percent(what)))
    low, high = (float(end[at] / told.value[at]) for end in (told.low, told.high))
    return value, value * low, value * high


def _joules(cases: Sequence[Serving]) -> list[Ends]:
    """Joules of a generated token while so many requests run, with intervals; NaN in precisions nobody measured."""
    uses = [
        Use(
            devices=case.decode.tp * case.decode.attention_dp,
            batch=case.concurrency,
            output=case.output,
            task=_TASK,
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
