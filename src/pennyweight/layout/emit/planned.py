"""From a plan to a launch: of an estimate, of a training plan's cheapest way, of a deployment that is served."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pennyweight.catalog.accelerators import accelerator
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError
from pennyweight.layout.emit.launch import Launch, Serve, Train

if TYPE_CHECKING:
    from pennyweight.catalog.offer import Offer
    from pennyweight.layout.plans.estimating import Estimate
    from pennyweight.layout.serving.fleet import Serving


def launch_of_estimate(found: Estimate, *, model: str = "", image: str = "") -> Launch:
    """Train as estimated: a checkpoint as often as the estimate assumes, on machines of its offer.

    `model` names the weights or their folder, `image` the container; by default as in `Launch`.
    """
    device, offer = accelerator(found.accelerator), found.rented.offer
    every = float(found.upkeep.every_s) / found.step.value
    steps = max(round(every if math.isfinite(every) else found.work.steps), 1)
    return Launch(
        dims=found.work.dims,
        layout=found.layout,
        work=Train(found.work.tokens, found.work.sequence, found.work.global_batch, steps),
        accelerator=device,
        node_devices=offer.devices if offer else device.node_devices,
        model=model,
        offer=offer,
        spare=found.rented.spare,
        image=image,
    )


def launch_of_serving(
    served: Serving, offer: Offer | None = None, *, spare: bool = False, draft: str = "", reads: Launch | None = None
) -> Launch:
    """Serve as planned, on machines of an `offer` or as usually built; `draft` names a model that guesses ahead.

    `reads` is the launch of the pool that reads prompts, where `served` has one of its own. Raises `BadInputError` for
    experts in a precision of their own.
    """
    pool = served.decode
    if served.moe not in {"", served.gemm}:
        raise BadInputError(
            f"Launch files have one precision, and this plan has {served.gemm} and {served.moe} for experts.",
            "plan with one precision for both.",
        )
    groups = pool.attention_dp * pool.workers
    return Launch(
        dims=served.model,
        layout=Layout(tp=pool.tp, pp=pool.pp, dp=groups, ep=pool.expert_parallel),
        work=Serve(
            requests=max(math.ceil(served.concurrency / groups), 1),
            context=math.ceil(served.prompt + served.output),
            attention_dp=pool.attention_dp,
            weights=served.gemm,
            cache=served.kv,
            drafts=math.ceil(served.drafts),
            draft=draft,
            engine=served.engine,
            disaggregated=served.prefill is not None and reads is None,
        ),
        accelerator=served.accelerator,
        node_devices=offer.devices if offer else served.accelerator.node_devices,
        offer=offer,
        spare=spare,
        reads=reads,
    )
