"""What a large model costs to serve, as plain facts of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennyweight.layout.deployments.plan import ServePlan
    from pennyweight.layout.deployments.pooled import ReadPool
    from pennyweight.layout.deployments.rent import Rent
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
    served = way.serving
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
        "machines": _machines(way.rent),
        "pools": way.pools,
        "reads": _reads(way.reads) if way.reads else None,
        "capacity_byte": served.accelerator.memory_byte,
        "usd_hour_by": dict(way.split),
        **{name: getattr(way, name) for name in _COUNTED},
        **{name: dict(zip(_ENDS, getattr(way, name), strict=True)) for name in _RANGES},
    }


def _reads(pool: ReadPool) -> dict[str, Any]:
    """The pool that only reads prompts; `machines` is null where it is on those of the pool that answers."""
    return {
        "accelerator": pool.serving.accelerator.name,
        "tp": pool.serving.decode.tp,
        "attention_dp": pool.serving.decode.attention_dp,
        "ep": pool.serving.decode.expert_parallel,
        "replicas": pool.replicas,
        "devices": pool.devices * pool.replicas,
        "machines": _machines(pool.rent) if pool.rent else None,
        **{name: getattr(pool, name) for name in ("wait_s", "move_s", "busy", "network")},
    }


def _machines(rent: Rent) -> dict[str, Any]:
    offer = rent.offer
    return {
        "count": rent.machines,
        "cloud": offer.cloud,
        "region": offer.region,
        "instance": offer.instance,
        "spare": rent.spare,
        "devices": offer.devices,
        "usd_device_hour": offer.device_hour_usd(spare=rent.spare),
        "date": offer.date,
        "source": offer.source,
    }
