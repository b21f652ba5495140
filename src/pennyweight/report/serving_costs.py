"""What a large model costs to serve, as plain facts of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennyweight.layout.deployments.plan import ServePlan
    from pennyweight.layout.deployments.ways import ServedWay

_COUNTED = ("held", "goodput_s", "used", "running", "usd_hour", "usd_output", "usd_token", "byte", "outside")
_RANGES = ("ttft_s", "tpot_s", "joule_token", "usd_million", "usd_month")
_ENDS = ("value", "low", "high")


def serving_facts(plan: ServePlan, top: int) -> dict[str, Any]:
    """Everything a plan says, `top` ways of its front; figures with an interval are `value`, `low` and `high`."""
    demand = plan.demand
    return {
        "model": plan.model.name,
        "requests": {"rate_s": demand.rate_s, "prompt_tokens": demand.prompt, "output_tokens": demand.output},
        "slo": [{"what": each.what, "most_s": each.most_s, "percent": each.percent} for each in plan.slo.limits],
        "considered": plan.considered,
        "ways": len(plan.front),
        "front": [_way(each) for each in plan.front[:top]],
        "why": plan.why,
        "said": list(plan.said),
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
            "devices": offer.devices,
            "usd_device_hour": offer.device_hour_usd(spare=way.rent.spare),
            "date": offer.date,
            "source": offer.source,
        },
        "capacity_byte": served.accelerator.memory_byte,
        "usd_hour_by": dict(way.split),
        **{name: getattr(way, name) for name in _COUNTED},
        **{name: dict(zip(_ENDS, getattr(way, name), strict=True)) for name in _RANGES},
    }
