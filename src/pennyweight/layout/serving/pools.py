"""Requests that one pool of servers reads and another answers: queues for prompts, for the network, and for room.

Prefill and decode taken apart (DistServe, Zhong et al. 2024, arXiv 2401.09670; Splitwise, Patel et al. 2024, arXiv
2311.18677). A request waits for an instance that reads prompts, first come, first served; its keys and values then
travel to an instance that answers, where no prompt ever slows an iteration. The queues for prompts and for the network
are followed request by request, exactly; the answers as in `layout.queueing`, with prompts of no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapreplace
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.serving.queueing import Arrivals, Queued, forecast

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pennyweight.layout.serving.queueing import Server

    Floats = NDArray[np.float64]

_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Readers:
    """The pool of prefill: `instances` that take `token_s` for each token of a prompt, one prompt after the other.

    `fixed_s` passes besides without holding others back: network, tokeniser, latencies of a pass.
    """

    token_s: float
    fixed_s: float = 0.0
    instances: int = 1

    def __post_init__(self) -> None:
        if not (self.token_s >= 0 and self.fixed_s >= 0) or self.instances < 1:
            raise BadInputError(
                "A pool that reads prompts needs an instance, and no negative seconds.",
                "give token_s and fixed_s of zero or more, and instances of one or more.",
            )


@dataclass(frozen=True, slots=True)
class Wire:
    """The network between the pools: `lanes` that each take `token_s` per token of a prompt; `request_s` is latency."""

    token_s: float = 0.0
    request_s: float = 0.0
    lanes: int = 1

    def __post_init__(self) -> None:
        if not (self.token_s >= 0 and self.request_s >= 0) or self.lanes < 1:
            raise BadInputError(
                "A network between two pools needs a lane, and no negative seconds.",
                "give token_s and request_s of zero or more, and lanes of one or more.",
            )


@dataclass(frozen=True, slots=True)
class Sent:
    """Requests (n,) whose keys have come to the pool that answers, after `wait_s` for a reader and `move_s` on the way.

    `reading` and `moving` are the shares of time that readers and lanes are busy.
    """

    at_s: Floats
    wait_s: Floats
    move_s: Floats
    reading: float
    moving: float


def send(arrivals: Arrivals, readers: Readers, wire: Wire) -> Sent:
    """Read every prompt and move its keys, in the order of arrival and then of being ready."""
    read_s, move_s = arrivals.prompt * readers.token_s, arrivals.prompt * wire.token_s
    wait_s = _waits(arrivals.at_s, read_s, readers.instances)
    ready = arrivals.at_s + wait_s + read_s
    order = np.argsort(ready, kind="stable")
    held_s = np.empty_like(ready)
    held_s[order] = _waits(ready[order], move_s[order], wire.lanes)
    way_s = held_s + move_s + wire.request_s
    span = max(float(arrivals.at_s[-1] - arrivals.at_s[0]), _LEAST)
    shares = (float(each.sum()) / span / of for each, of in ((read_s, readers.instances), (move_s, wire.lanes)))
    reading, moving = (min(share, 1.0) for share in shares)
    return Sent(ready + way_s + readers.fixed_s, wait_s, way_s, reading, moving)


def answer(
    arrivals: Arrivals, sent: Sent, writers: Server, follow: Callable[[Arrivals, Server], Queued] = forecast
) -> Queued:
    """Seconds (n,) of requests that were read elsewhere: to the first token from their arrival, and per token.

    `writers` read nothing, so their `prompt_token_s` counts for nothing. `follow` is `queueing.forecast`, or the
    simulation of every iteration.
    """
    order = np.argsort(sent.at_s, kind="stable")
    none = np.zeros(len(order))
    done = follow(Arrivals(sent.at_s[order], none, arrivals.output[order]), writers)
    first_s, token_s = np.empty(len(order)), np.empty(len(order))
    first_s[order], token_s[order] = done.ttft_s, done.tpot_s
    return Queued(sent.at_s - arrivals.at_s + first_s, token_s, done.busy, done.seconds)


def _waits(at_s: Floats, busy_s: Floats, servers: int) -> Floats:
    """Seconds (n,) until one of the servers is free, first come, first served; arrivals (n,) in order."""
    if servers >= len(at_s):
        return np.zeros(len(at_s))
    if np.ptp(busy_s) == 0:
        return _even_waits(at_s, float(busy_s[0]), servers)
    free, waits = [float("-inf")] * servers, []
    for come, takes in zip(at_s.tolist(), busy_s.tolist(), strict=True):
        begun = max(free[0], come)
        heapreplace(free, begun + takes)
        waits.append(begun - come)
    return np.array(waits)


def _even_waits(at_s: Floats, busy_s: float, servers: int) -> Floats:
    """The same where all take as long: each server then gets every so many-th request (Lindley's recursion)."""
    rows = -(-len(at_s) // servers)
    come = np.full(rows * servers, at_s[-1])
    come[: len(at_s)] = at_s
    before = np.arange(rows)[:, None] * busy_s
    begun = np.maximum.accumulate(come.reshape(rows, servers) - before, axis=0) + before
    return np.asarray(np.maximum(begun.ravel()[: len(at_s)] - at_s, 0.0))
