"""Which terms the seconds of a served model add up to, and what they depend on: engines, generations, precisions.

Each term has how far its multiplier may be from one, and the families of marks that move it with others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.serving.additive import Form, Term, marks_of
from pennyweight.layout.serving.fleet import ENGINES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.serving.fleet import Fleet

_GENERATIONS = {"h100": "hopper", "h200": "hopper", "gh200": "hopper", "h800": "hopper"}
_PRECISIONS = ("bf16", "fp8", "nvfp4", "mxfp4", "int4")
_SYSTEMS = ("h100", "h200", "b200", "b300", "gb200", "gb300")


def _terms(spec: dict[str, tuple[float, tuple[str, ...], str]]) -> tuple[Term, ...]:
    return tuple(Term(name, sd, families, roof) for name, (sd, families, roof) in spec.items())


_LATENCY = ("latency", "latency_age")
_ALL = ("system", "drafted")
DECODE = Form(
    _terms(
        {
            "weights": (0.15, ("memory", *_ALL), "dense"),
            "products": (0.25, ("memory", *_ALL), "dense"),
            "experts": (0.25, ("memory", "moe", *_ALL), "sparse"),
            "routed": (0.35, ("moe", *_ALL), "sparse"),
            "keys": (0.25, ("keys", *_ALL), "attention"),
            "scores": (0.5, ("keys", *_ALL), "attention"),
            "layers": (0.3, ("latency", *_ALL), ""),
            "moe_layers": (0.3, ("latency", "moe", *_ALL), ""),
            "latent": (0.4, ("latency", *_ALL), ""),
            "linear": (0.5, ("latency", *_ALL), ""),
            "dp": (0.6, ("links", *_ALL), ""),
            "reduce": (0.3, ("links", *_ALL), ""),
            "reduce_log": (0.6, ("links", *_ALL), ""),
            "reduce_byte": (0.4, ("links", *_ALL), ""),
            "send_byte": (0.6, ("links", *_ALL), ""),
            "step": (0.5, ("host", *_ALL), ""),
            "requests": (0.6, ("host", *_ALL), ""),
            "routing": (0.8, ("moe", *_ALL), ""),
            "p_products": (0.2, ("prefill", "system"), ""),
            "p_routed": (0.4, ("prefill", "moe", "system"), ""),
            "p_scores": (0.3, ("prefill", "system"), ""),
            "p_reduce": (0.4, ("prefill", "system"), ""),
            "p_elements": (0.5, ("prefill", "system"), ""),
            "p_routing": (0.6, ("prefill", "moe", "system"), ""),
        }
    ),
    {
        "latency": (0.2, (*(f"engine={each}" for each in ENGINES), "generation=hopper")),
        "memory": (0.12, tuple(f"gemm={each}" for each in _PRECISIONS)),
        "keys": (0.2, tuple(f"engine={each}" for each in ENGINES)),
        "host": (0.3, (*(f"engine={each}" for each in ENGINES), "generation=hopper")),
        "links": (0.25, (*(f"engine={each}" for each in ENGINES), "generation=hopper")),
        "moe": (
            0.22,
            (
                *(f"engine={each}" for each in ENGINES),
                *(f"moe={each}" for each in _PRECISIONS),
                "generation=hopper",
                "spread=experts",
            ),
        ),
        "prefill": (
            0.22,
            (*(f"engine={each}" for each in ENGINES), *(f"gemm={each}" for each in _PRECISIONS), "generation=hopper"),
        ),
        "system": (0.07, tuple(f"system={each}" for each in _SYSTEMS)),
        "drafted": (1.0, ("drafted=yes",)),
    },
)
_STACK = (*(f"engine={each}" for each in ENGINES), "generation=hopper")
_BOTH = (*_STACK, *(f"engine on hopper={each}" for each in ENGINES))  # kernels of prompts are an engine's own by device
FIRST = Form(
    _terms(
        {
            "start": (0.6, ("engine",), ""),
            "experts": (0.6, ("routes",), ""),
            "launch": (0.6, ("engine",), ""),
            "latent": (0.8, ("engine",), ""),
            "linear": (0.8, ("engine",), ""),
            "held": (0.1, (), ""),
            "turn": (0.4, ("engine",), ""),
            "tokens": (0.6, ("tokens",), ""),
            "groups": (0.6, ("groups",), ""),
            "read": (0.3, ("prefill", "drafted"), "dense"),
            "p_products": (0.25, ("prefill", "drafted", "gemm"), "dense"),
            "read_experts": (0.3, ("prefill", "drafted"), "sparse"),
            "p_routed": (0.35, ("prefill", "drafted", "moe"), "sparse"),
            "p_scores": (0.3, ("prefill", "drafted"), ""),
            "p_reduce": (0.4, ("prefill", "drafted"), ""),
            "p_elements": (0.5, ("prefill", "drafted"), ""),
            "p_routing": (0.6, ("prefill", "drafted"), ""),
            "full": (0.4, ("full",), ""),
            "move": (0.6, ("apart",), ""),
            "queue": (0.6, ("apart",), ""),
        }
    ),
    {
        "engine": (0.4, _BOTH),
        "routes": (1.5, _BOTH),
        "tokens": (0.8, tuple(f"engine={each}" for each in ENGINES)),
        "groups": (1.0, tuple(f"engine={each}" for each in ENGINES)),
        "prefill": (0.25, _BOTH),
        "gemm": (0.25, tuple(f"gemm={each}" for each in _PRECISIONS)),
        "moe": (0.25, tuple(f"moe={each}" for each in _PRECISIONS)),
        "full": (0.3, tuple(f"engine={each}" for each in ENGINES)),
        "apart": (0.4, tuple(f"engine={each}" for each in ENGINES)),
        "drafted": (0.25, ("drafted=yes",)),
    },
)


def marks(fleet: Fleet) -> dict[str, NDArray[np.float64]]:
    """Marks (n,) of what a deployment is: engine, generation, precisions, system."""
    names, at = np.unique(fleet.system, return_inverse=True)
    generation = np.array([_GENERATIONS.get(str(name), "") for name in names])[at]
    spread = np.where((fleet.ep > 1) & (fleet.model.experts > 0), "experts", "")
    gemm, moe = (np.where(each == "fp8_block", "fp8", each) for each in (fleet.gemm, fleet.moe))
    return {
        **marks_of("engine", fleet.engine, ENGINES),
        **marks_of("generation", generation, ("hopper",)),
        **marks_of("engine on hopper", np.where(generation == "hopper", fleet.engine, ""), ENGINES),
        **marks_of("gemm", gemm, _PRECISIONS),
        **marks_of("moe", moe, _PRECISIONS),
        **marks_of("system", fleet.system, _SYSTEMS),
        **marks_of("spread", spread, ("experts",)),
        **marks_of("drafted", np.where(fleet.drafts > 0, "yes", ""), ("yes",)),
    }
