"""`pennyweight plan serve`: the cheapest machines, engines and layouts that serve a model under an objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError, OverBudgetError
from pennyweight.units import money, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pennyweight.cli.launching import Told
    from pennyweight.layout.deployments.ahead import Ahead
    from pennyweight.layout.deployments.choices import Wanted
    from pennyweight.layout.deployments.plan import Demand, ServedWay, ServePlan
    from pennyweight.layout.deployments.rent import Market, Rent
    from pennyweight.layout.emit import Launch
    from pennyweight.layout.serving.fleet import Serving

_STARTED = "vllm"  # by launch files


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed: an objective, and a trace, or a rate per second with mean tokens of prompt and answer."""

    slo: str
    trace: Path | None
    rate: float | None
    prompt: int | None
    output: int | None
    prefix_hit: float = 0.0
    draft: str = ""

    def ahead(self) -> Ahead:
        """What spares work: a share of prompts in the cache, tokens guessed ahead."""
        from pennyweight.layout.deployments.ahead import Ahead

        return Ahead.read(self.draft, self.prefix_hit)

    def demand(self) -> Demand:
        """The same as arrivals; a rate beside a trace is that at which its requests then come."""
        from pennyweight.layout.deployments.plan import Demand

        if self.rate is not None and not self.rate > 0:
            raise BadInputError(f"Requests cannot arrive {self.rate:g} times a second.", "give a --rate above zero.")
        if self.trace is not None:
            from pennyweight.layout.serving.traces import read_trace

            return Demand.of_trace(read_trace(self.trace, rate_s=self.rate))
        if self.rate is None or self.prompt is None or self.output is None:
            raise BadInputError(
                "Nobody said what requests come.", "give --trace FILE.csv, or --rate, --prompt and --output."
            )
        return Demand.at_rate(self.rate, self.prompt, self.output)


@dataclass(frozen=True, slots=True)
class Among:
    """What is looked at, as it was typed; `words` after the model are more accelerators, engines or precisions.

    `pools` is whether one pool reads and answers, two do, or what is cheaper.
    """

    on: Sequence[str]
    engines: Sequence[str]
    precisions: Sequence[str]
    words: Sequence[str]
    spare: bool | None
    cloud: str | None
    region: str | None
    pools: str = "both"

    def market(self) -> Market:
        """The offers."""
        from pennyweight.layout.deployments.rent import Market
        from pennyweight.layout.serving.fleet import BYTE, ENGINES

        more = [each for each in self.words if each not in ENGINES and each not in BYTE]
        return Market.open(_apart([*self.on, *more]), spare=self.spare, cloud=self.cloud, region=self.region)

    def wanted(self, model: str, demand: Demand, ahead: Ahead, emit: str | None) -> Wanted:
        """The model, precisions, engines and pools; without any, all of them, or those that launch files start."""
        from pennyweight.cost.hf_config import dims_of
        from pennyweight.layout.deployments.choices import PRECISIONS, Wanted
        from pennyweight.layout.serving.fleet import BYTE, ENGINES

        engines = _apart([*self.engines, *(each for each in self.words if each in ENGINES)])
        precisions = _apart([*self.precisions, *(each for each in self.words if each in BYTE)])
        if emit and _STARTED not in (engines or ENGINES):
            raise BadInputError(
                f"Launch files start {_STARTED}, not {' or '.join(engines)}.",
                f"plan with --engine {_STARTED}, or without --emit.",
            )
        usual = (_STARTED,) if emit else ENGINES
        precise = precisions or PRECISIONS
        pools = "aggregated" if self.narrowed(emit) else self.pools
        return Wanted(dims_of(model), demand.prompt, demand.output, engines or usual, precise, ahead, pools)

    def narrowed(self, emit: str | None) -> bool:
        """Whether one pool alone is looked at because launch files start no more; refused where two are asked for."""
        from pennyweight.layout.emit import check_pairs, load

        if emit is None or load(emit).pairs:
            return False
        if self.pools == "disaggregated":
            check_pairs(emit)
        return self.pools == "both"


def tell_serving(model: str, asked: Asked, among: Among, told: Told, top: int) -> None:
    """Tell the front of dollars against seconds per token; nothing that keeps the objective is an error with a fix.

    Launch files start vLLM: where one is asked for, the plan is for that engine unless others are named.
    """
    from pennyweight.cli.calibrated import SERVED, calibration_of, say_calibration
    from pennyweight.cli.launching import check_target, launch_file
    from pennyweight.layout.deployments.plan import plan_serve
    from pennyweight.layout.serving.objectives import Slo
    from pennyweight.report.serving_costs import serving_facts

    check_target(told.emit, "serve")
    slo, demand = Slo.read(asked.slo), asked.demand()
    wanted = among.wanted(model, demand, asked.ahead(), told.emit)
    calibration = calibration_of(told.calibration)
    plan = plan_serve(wanted, demand, slo, among.market(), calibration)
    if among.narrowed(told.emit):
        plan = replace(plan, said=(*plan.said, f"{told.emit} files start one pool, so no way has two"))
    launch = launch_file(_launch(plan, plan.cheapest), told.emit) if told.emit and plan.cheapest else None
    facts = serving_facts(plan, top)
    if told.report is not None:
        from pennyweight.report.serving_page import write_serving

        write_serving(facts, told.report)
    if told.json:
        say_json(facts)
    if plan.cheapest is None:
        raise OverBudgetError(plan.why, plan.fix)
    if not told.json:
        _show(plan, top)
        say_calibration(calibration, told.calibration, SERVED)
        if told.report is not None:
            say(f"The report is in {told.report}.")
    if launch is not None:
        launch.tell(json=told.json)


def _show(plan: ServePlan, top: int) -> None:
    demand, shown = plan.demand, plan.front[:top]
    come = f"{demand.rate_s:.3g} requests a second of {demand.prompt:,.0f} tokens in and {demand.output:,.0f} out"
    say(f"Serving {plan.model.name}: {come} on average; at most {', '.join(map(str, plan.slo.limits))}")
    heads = ["", "$/M out", "per token", "90%", "first token", "90%", "J/token", "pools"]
    rows = [[f"{at}", *_row(each)] for at, each in enumerate(shown, start=1)]
    say_table("What nothing beats in both dollars and seconds per token, with 90% intervals", heads, rows, range(7))
    where = [[f"{at}", _where(each)] for at, each in enumerate(shown, start=1)]
    say_table("What runs where", ["", "replicas and machines"], where, (0,))
    best = plan.front[0]
    say(
        f"The cheapest, with 90% intervals: {_span(usd, best.usd_million)} per million tokens of answers, "
        f"{_span(money, best.usd_month)} a month, {_span(_joule, best.joule_token)} per token."
    )
    say(f"{len(shown)} of {len(plan.front)} ways on the front; {plan.considered:,} fit in memory.")
    if shown[0].outside:
        say(f"The cheapest is unlike what was measured: {shown[0].outside}.")
    for line in plan.said:
        say(f"Assumed: {line}.")
    say("Fewer bits may cost quality: measure it, or ask for --precision bf16.")


def _row(way: ServedWay) -> list[str]:
    """One line of the front, narrow enough for 80 columns."""
    figures = [text for ends in (way.tpot_s, way.ttft_s) for text in (seconds(ends[0]), _between(ends))]
    return [usd(way.usd_output), *figures, f"{way.joule_token[0]:.2g}", "2" if way.reads else "1"]


def _where(way: ServedWay) -> str:
    """What runs on which machines, of whom; of two pools first the one that reads."""
    served, reads = way.serving, way.reads
    each = f"{way.replicas:,} × {served.engine} {served.gemm} {_spread(served)}, {served.concurrency:.0f} at once"
    if reads is None:
        return f"{each}, on {_machines(way.rent)}"
    first = f"disaggregated: {reads.replicas:,} × {_spread(reads.serving)} read"
    if reads.rent is not None:
        first += f" on {_machines(reads.rent)}"
    return f"{first}, {each} answer, on {_machines(way.rent)}"


def _spread(served: Serving) -> str:
    pool = served.decode
    more = "".join(f" {name} {n}" for name, n in (("dp", pool.attention_dp), ("ep", pool.expert_parallel)) if n > 1)
    return f"tp {pool.tp}{more}"


def _machines(rent: Rent) -> str:
    offer, spare = rent.offer, ", spare" if rent.spare else ""
    devices = f"{offer.devices} {offer.accelerator}"
    return f"{rent.machines:,} × {offer.cloud} {offer.instance} ({devices}), {offer.region}{spare}"


def _span(tell: Callable[[float], str], ends: tuple[float, float, float]) -> str:
    return f"{tell(ends[0])} ({tell(ends[1])} to {tell(ends[2])})"


def _joule(value: float) -> str:
    return f"{value:.2g} J"


def _between(ends: tuple[float, float, float]) -> str:
    """The interval, its unit once where both ends have it."""
    low, high = seconds(ends[1]), seconds(ends[2])
    number, _, unit = low.rpartition(" ")
    return f"{number}-{high}" if high.endswith(f" {unit}") and high.count(" ") == 1 else f"{low}-{high}"


def _launch(plan: ServePlan, way: ServedWay) -> Launch:
    from pennyweight.layout.emit.planned import launch_of_serving

    draft, longest = plan.ahead.draft.name if plan.ahead.draft else "", plan.demand.longest
    reads = None
    if way.reads is not None:
        rent = way.reads.rent or way.rent
        reads = launch_of_serving(way.reads.deployed(longest), rent.offer, spare=rent.spare, draft=draft)
    return launch_of_serving(way.deployed(longest), way.rent.offer, spare=way.rent.spare, draft=draft, reads=reads)


def _apart(given: Sequence[str]) -> list[str]:
    """Each name by itself."""
    return [name for words in given for name in words.split(",") if name]
