"""`pennyweight plan serve`: the cheapest machines, engines and layouts that serve a model under an objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError, OverBudgetError
from pennyweight.units import money, seconds, usd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pennyweight.cli.launching import Told
    from pennyweight.layout.deployments.choices import Wanted
    from pennyweight.layout.deployments.plan import Demand, ServedWay, ServePlan
    from pennyweight.layout.deployments.rent import Market
    from pennyweight.layout.emit import Launch

_COUNTED = ("held", "goodput_s", "used", "running", "usd_hour", "usd_output", "usd_token", "byte", "outside")
_ENDS = ("value", "low", "high")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was typed: an objective, and a trace, or a rate per second with mean tokens of prompt and answer."""

    slo: str
    trace: Path | None
    rate: float | None
    prompt: int | None
    output: int | None

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
    """What is looked at, as it was typed; `words` after the model are more accelerators, engines or precisions."""

    on: Sequence[str]
    engines: Sequence[str]
    precisions: Sequence[str]
    words: Sequence[str]
    spare: bool | None
    cloud: str | None
    region: str | None

    def market(self) -> Market:
        """The offers."""
        from pennyweight.layout.deployments.rent import Market
        from pennyweight.layout.serving.fleet import BYTE, ENGINES

        more = [each for each in self.words if each not in ENGINES and each not in BYTE]
        return Market.open(_apart([*self.on, *more]), spare=self.spare, cloud=self.cloud, region=self.region)

    def wanted(self, model: str, demand: Demand, usual: Sequence[str]) -> Wanted:
        """The model, precisions and engines, without any the `usual` ones."""
        from pennyweight.cost.hf_config import dims_of
        from pennyweight.layout.deployments.choices import PRECISIONS, Wanted
        from pennyweight.layout.serving.fleet import BYTE, ENGINES

        engines = _apart([*self.engines, *(each for each in self.words if each in ENGINES)])
        precisions = _apart([*self.precisions, *(each for each in self.words if each in BYTE)])
        return Wanted(dims_of(model), demand.prompt, demand.output, engines or usual, precisions or PRECISIONS)


def tell_serving(model: str, asked: Asked, among: Among, told: Told, top: int) -> None:
    """Tell the front of dollars against seconds per token; nothing that keeps the objective is an error with a fix.

    Launch files start vLLM: where one is asked for, the plan is for that engine unless others are named.
    """
    from pennyweight.cli.launching import tell_launch
    from pennyweight.layout.deployments.plan import plan_serve
    from pennyweight.layout.serving.fleet import ENGINES
    from pennyweight.layout.serving.objectives import Slo

    slo, demand = Slo.read(asked.slo), asked.demand()
    wanted = among.wanted(model, demand, ("vllm",) if told.emit else ENGINES)
    plan = plan_serve(wanted, demand, slo, among.market())
    if told.json:
        say_json(facts_of(plan, top))
    if plan.cheapest is None:
        raise OverBudgetError(plan.why, plan.fix)
    if not told.json:
        _show(plan, top)
    if told.emit:
        tell_launch(_launch(plan, plan.cheapest), told.emit, json=told.json)


def facts_of(plan: ServePlan, top: int) -> dict[str, Any]:
    """The plan as JSON has it, `top` ways of its front."""
    demand = plan.demand
    return {
        "model": plan.model.name,
        "requests": {"rate_s": demand.rate_s, "prompt_tokens": demand.prompt, "output_tokens": demand.output},
        "slo": [{"what": each.what, "most_s": each.most_s, "percent": each.percent} for each in plan.slo.limits],
        "considered": plan.considered,
        "front": [_way(each) for each in plan.front[:top]],
        "why": plan.why,
    }


def _way(way: ServedWay) -> dict[str, Any]:
    served, offer = way.serving, way.rent.offer
    return {
        "engine": served.engine,
        "accelerator": served.accelerator.name,
        "precision": served.gemm,
        "cache": served.kv,
        "tp": served.decode.tp,
        "attention_dp": served.decode.attention_dp,
        "ep": served.decode.expert_parallel,
        "requests_at_once": int(served.concurrency),
        "replicas": way.replicas,
        "devices": way.devices * way.replicas,
        "machines": {
            "count": way.rent.machines,
            "cloud": offer.cloud,
            "region": offer.region,
            "instance": offer.instance,
            "spare": way.rent.spare,
        },
        **{name: getattr(way, name) for name in _COUNTED},
        **{name: dict(zip(_ENDS, getattr(way, name), strict=True)) for name in ("ttft_s", "tpot_s", "joule_token")},
    }


def _show(plan: ServePlan, top: int) -> None:
    demand, shown = plan.demand, plan.front[:top]
    come = f"{demand.rate_s:.3g} requests a second of {demand.prompt:,.0f} tokens in and {demand.output:,.0f} out"
    say(f"Serving {plan.model.name}: {come} on average; at most {', '.join(map(str, plan.slo.limits))}")
    heads = ["$/M out", "an hour", "per token", "90% interval", "first token", "90% interval", "J/token", "replicas"]
    rows = [_row(each) for each in shown]
    say_table("What nothing beats in both dollars and seconds per token", [*heads, "each", "machines"], rows, range(8))
    say(
        f"{len(shown)} of {len(plan.front)} ways on the front; {plan.considered:,} ways to run a replica fit in memory."
    )
    if shown[0].outside:
        say(f"The cheapest is unlike what was measured: {shown[0].outside}.")
    say("Fewer bits may cost quality: measure it, or ask for --precision bf16.")


def _row(way: ServedWay) -> list[str]:
    served, offer, pool = way.serving, way.rent.offer, way.serving.decode
    spread = "".join(f" {name} {n}" for name, n in (("dp", pool.attention_dp), ("ep", pool.expert_parallel)) if n > 1)
    devices = f"{offer.devices} {offer.accelerator}"
    spare = ", spare" if way.rent.spare else ""
    return [
        usd(way.usd_output),
        money(way.usd_hour),
        *(text for ends in (way.tpot_s, way.ttft_s) for text in _figures(ends)),
        f"{way.joule_token[0]:.2g}",
        f"{way.replicas:,}",
        f"{served.engine} {served.gemm} tp {pool.tp}{spread}, {served.concurrency:.0f} at once",
        f"{way.rent.machines:,} × {offer.cloud} {offer.instance} ({devices}), {offer.region}{spare}",
    ]


def _figures(ends: tuple[float, float, float]) -> tuple[str, str]:
    return seconds(ends[0]), f"{seconds(ends[1])} to {seconds(ends[2])}"


def _launch(plan: ServePlan, way: ServedWay) -> Launch:
    from pennyweight.layout.emit.planned import launch_of_serving

    return launch_of_serving(way.deployed(plan.demand.longest), way.rent.offer, spare=way.rent.spare)


def _apart(given: Sequence[str]) -> list[str]:
    """Each name by itself."""
    return [name for words in given for name in words.split(",") if name]
