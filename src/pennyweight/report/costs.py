"""What a large model costs to train, as plain facts: of one estimate, and of a plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pennyweight.cost.transformer import active_parameters, parameters

if TYPE_CHECKING:
    from pennyweight.layout.plans.estimating import Estimate, Range
    from pennyweight.layout.plans.planning import Planned, TrainPlan
    from pennyweight.layout.plans.renting import Rented
    from pennyweight.layout.plans.training import TrainWork


def estimate_facts(found: Estimate) -> dict[str, Any]:
    """Everything an estimate says, in SI units; figures with an interval are `value`, `low` and `high`."""
    kept = found.upkeep
    return {
        "work": work_facts(found.work),
        "accelerator": found.accelerator,
        "devices": found.devices,
        "rented": rented_facts(found.rented),
        "layout": asdict(found.layout),
        "step_s": _range(found.step),
        "mfu": _range(found.mfu),
        "seconds": _range(found.seconds),
        "usd": _range(found.usd) if found.usd else None,
        "joule": _range(found.joule),
        "kg_co2e": _range(found.kg_co2e),
        "upkeep": {name: float(value) for name, value in asdict(kept).items()},
        "memory": dict(found.memory),
        "memory_byte": found.memory_byte,
        "memory_high_byte": found.memory_high_byte,
        "capacity_byte": found.capacity_byte,
        "fits": found.fits,
        "parts_s": dict(found.parts_s),
        "near": {"run": found.near.run, "reach": found.near.reach, "outside": found.near.outside},
        "nearest": str(found.near),
        "said": list(found.said),
    }


def plan_facts(plan: TrainPlan, most: int) -> dict[str, Any]:
    """Everything a plan says: `front` is all of it, `shown` at most so many of it with every figure."""
    return {
        "work": work_facts(plan.work),
        "limits": asdict(plan.limits),
        "front": [planned_facts(each) for each in plan.front],
        "shown": [estimate_facts(plan.estimate(each)) for each in plan.shown(most)],
        "why": list(plan.why),
        "configurations": plan.configurations,
        "timed": plan.timed,
    }


def work_facts(work: TrainWork) -> dict[str, Any]:
    """What is to be trained."""
    return {
        "model": work.dims.name,
        "parameters": parameters(work.dims),
        "active_parameters": active_parameters(work.dims),
        "tokens": work.tokens,
        "sequence": work.sequence,
        "global_batch": work.global_batch,
        "precision": work.precision,
        "steps": work.steps,
    }


def rented_facts(rent: Rented) -> dict[str, Any] | None:
    """Which machines, of whom; None where nobody sells them."""
    if rent.offer is None:
        return None
    offer = rent.offer
    return {
        "cloud": offer.cloud,
        "region": offer.region,
        "instance": offer.instance,
        "machines": rent.machines,
        "spare": rent.spare,
        "usd_hour": rent.usd_hour,
        "usd_device_hour": offer.device_hour_usd(spare=rent.spare),
        "interruption": offer.interruption,
        "date": offer.date,
        "source": offer.source,
    }


def planned_facts(planned: Planned) -> dict[str, Any]:
    """One point of a front."""
    return {
        "accelerator": planned.accelerator,
        "devices": planned.rented.devices,
        "rented": rented_facts(planned.rented),
        "layout": asdict(planned.layout),
        "step_s": planned.step_s,
        "seconds": planned.seconds,
        "usd": planned.usd,
    }


def layout_words(layout: dict[str, Any]) -> str:
    """A layout as people say it: what is one or none is left out."""
    degrees = [f"{name} {layout[name]}" for name in ("tp", "pp", "cp", "ep", "dp") if layout[name] > 1]
    more = [f"{layout['chunks']} stages each" * (layout["chunks"] > 1), f"zero {layout['zero']}" * (layout["zero"] > 0)]
    rest = [
        f"micro-batch {layout['micro_batch']}",
        f"{layout['recompute']} recompute" * (layout["recompute"] != "none"),
    ]
    return " · ".join(each for each in (*degrees, *more, *rest) if each)


def _range(figure: Range) -> dict[str, float]:
    return asdict(figure)
