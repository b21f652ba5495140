"""Seconds to the first token and per token of deployments under a closed loop of users, with the batch they reach.

Aggregated engines mix chunks of prompts into the iterations that decode: a request's share of everybody's prefill is
part of its time per token. Disaggregated ones have a pool for each, and whichever is slower holds the other back.
Where the keys of all users do not fit in memory, requests wait for those that do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.cost.transformer import kv_byte
from pennyweight.layout.serving.forms import marks
from pennyweight.layout.serving.passes import decode_terms, heads_split, prefill_terms, prompt_reads, weight_byte

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.serving.additive import Additive
    from pennyweight.layout.serving.fleet import Fleet

    Floats = NDArray[np.float64]
    Terms = dict[str, Floats]

USABLE = 0.92  # of the memory is given to an engine by default
RESERVE_BYTE = 4e9  # for activations, graphs and the engine itself
ACCEPTED = 0.65  # chance that a drafted token is right, given that those before it were
_ROUNDS = 12  # of the batch and the seconds that follow from each other
MOVE_S = 0.03  # until keys and values travel from one pool to another
_START_S, _LAUNCH_S, _EXPERT_S = 0.005, 250e-6, 7e-6
_CROWD, _WAIT, _ROOM = 0.8, 0.5, 1.3
# In a benchmark of ten requests per user all users begin at once: a tenth of the requests wait for half the others.
_WAVE, _SGLANG_WAVE = 0.05, 1.5
_REPLAYED = 0.3  # of what the host does in a pass is left where its kernels were recorded
_LEAST_PASS = 0.05  # of a pass a short prompt takes at least, as few arrive together
_TOKENS = 1.5  # made for others before a first token is seen: queues of the scheduler and of streams
_GATHER = 25.0  # iterations until each attention group has a prompt, or its engine waits no longer
_ALONE = {"p_routed": 2.0, "p_routing": 1.5}  # experts take so much longer in passes of prompts than beside decoding


@dataclass(frozen=True, slots=True)
class Load:
    """What a closed loop settles to (n,): requests decoded together per group, and what fits there.

    `step_s` is one iteration without prefill, `prompt_s` what one prompt adds to the pool that prefills, `tpot_s` the
    time per token of a request.
    """

    batch: Floats
    capacity: Floats
    step_s: Floats
    prompt_s: Floats
    tpot_s: Floats


def settle(fleet: Fleet, decode: Additive) -> Load:
    """Find the batch and the seconds per token that follow from each other."""
    fits, facts = capacity(fleet), marks(fleet)
    prompt_s = _sum(decode, {**prefill_terms(fleet.prefilling()), **facts}, fleet)
    rate = fleet.p_workers * fleet.p_adp / np.maximum(prompt_s, 1e-9)
    batch = np.minimum(fleet.batch, fits)
    for _ in range(_ROUNDS):
        step_s = _sum(decode, {**_decode(fleet, batch), **facts}, fleet)
        tpot_s = step_s + (1 - fleet.apart) * batch * prompt_s / fleet.output
        fed = np.where(fleet.apart > 0, rate * fleet.output * tpot_s / (fleet.workers * fleet.adp), np.inf)
        wanted = np.minimum(np.minimum(fleet.batch, fits), np.maximum(fed, 1e-3))
        batch = np.where(fleet.apart > 0, np.sqrt(batch * wanted), wanted)
    return Load(batch, fits, step_s, prompt_s, tpot_s)


def capacity(fleet: Fleet) -> Floats:
    """How many requests (n,) of one attention group the memory holds keys for, besides the weights."""
    free = fleet.memory_byte * USABLE - RESERVE_BYTE - weight_byte(fleet)
    each = kv_byte(fleet.model, fleet.prompt + 0.6 * fleet.output, fleet.kv_byte) / heads_split(fleet)
    return np.asarray(np.maximum(np.maximum(free, 0.02 * fleet.memory_byte) / each, 1.0))


def decode_values(fleet: Fleet, batch: Floats) -> Terms:
    """Terms and marks (n,) of `DECODE`, which add up to the seconds per token at this batch."""
    shared = (1 - fleet.apart) * batch / fleet.output
    prompts = {name: each * shared for name, each in prefill_terms(fleet.prefilling()).items()}
    return {**_decode(fleet, batch), **prompts, **marks(fleet)}


def first_values(fleet: Fleet, load: Load, cold: Floats | float = 1.0) -> Terms:
    """Terms and marks (n,) of `FIRST`, which add up to the mean seconds to the first token.

    `cold` (n,) says how far all users begin at once, as in a benchmark of ten requests each (1), or are in step (0).
    With P seconds for a prompt the mean of such a benchmark is P · (1 + users / 20), as a tenth of the requests wait
    for half of the users: long prompts of vLLM and TensorRT-LLM keep to this line to some 3%, given their P.
    """
    apart, first = fleet.apart, fleet.prefilling()
    fetched = (
        kv_byte(fleet.model, fleet.prompt, fleet.kv_byte) / fleet.tp / np.minimum(fleet.net_byte_s, fleet.link_byte_s)
    )
    answer_s, step_s = fleet.output * load.tpot_s, load.step_s * accepted(fleet.drafts)
    ahead = np.where(apart > 0, fleet.concurrency / (fleet.p_workers * fleet.p_adp), load.batch)
    wave = _WAVE * cold * ahead * np.where(fleet.engine == "sglang", _SGLANG_WAVE, 1.0)
    passes = 1 + wave * np.clip(fleet.prompt / fleet.chunk, _LEAST_PASS, 1.0)
    prompts = {name: each * _ALONE.get(name, 1.0) * (1 + wave) for name, each in prefill_terms(first).items()}
    return {
        **prompts,
        **{name: each * passes for name, each in prompt_reads(first).items()},
        "start": np.full(len(fleet), _START_S),
        **_launches(fleet, passes),
        "held": (1 - apart) * step_s * fleet.held,
        "turn": (1 - apart) * step_s * passes,
        "tokens": (1 - apart) * load.tpot_s * accepted(fleet.drafts) * _TOKENS,
        "groups": (fleet.adp > 1) * (fleet.engine != "vllm") * step_s * _GATHER,
        "full": np.maximum(fleet.batch / (load.capacity * _ROOM) - 1, 0.0) * answer_s * _WAIT,
        "move": apart * (MOVE_S + fetched),
        "queue": apart * np.maximum(ahead * load.prompt_s - answer_s, 0.0),
        **marks(fleet),
    }


def _launches(fleet: Fleet, passes: Floats) -> Terms:
    """What the host launches (n,) in so many passes of prompts; latent keys and linear mixers take more kernels."""
    d, launched = fleet.model, passes * np.where(fleet.prompt <= fleet.captured, _REPLAYED, 1.0)
    return {
        "experts": d.moe_layers * d.experts**_CROWD * _EXPERT_S * launched,
        "launch": d.layers * _LAUNCH_S * launched,
        "latent": (d.kv_rank > 0) * d.layers * _LAUNCH_S * launched,
        "linear": d.linear_layers * _LAUNCH_S * launched,
    }


def accepted(drafts: Floats) -> Floats:
    """Tokens (n,) that one step makes: one, and drafts as long as they are right (a geometric series)."""
    return np.asarray((1 - ACCEPTED ** (drafts + 1)) / (1 - ACCEPTED))


def _decode(fleet: Fleet, batch: Floats) -> Terms:
    made = accepted(fleet.drafts)
    context = fleet.prompt + fleet.output / 2
    return {name: each / made for name, each in decode_terms(fleet, batch, context).items()}


def _sum(decode: Additive, terms: Terms, fleet: Fleet) -> Floats:
    """Add up some of the terms of a form, given with the marks; those missing are nothing."""
    absent = {term.name: np.zeros(len(fleet)) for term in decode.form.terms if term.name not in terms}
    return decode.add_up({**absent, **terms})
