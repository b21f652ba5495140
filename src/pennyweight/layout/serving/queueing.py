"""Requests that arrive when they like: seconds to the first token and per token, and how many keep an objective.

A server decodes all running requests together and lets prompts join: an iteration with b requests takes
`step_s + request_s · b`, and each token of a prompt adds `prompt_token_s` to it. So a request that is answered in
`n` tokens is served at a rate that falls with how many are served beside it: processor sharing with a capacity.
`forecast` follows the load through time in slices and solves the mean of each (Little's law); `layout.iterating` runs
every iteration one by one and is what it is checked against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.serving.closed_loop import Load
    from pennyweight.layout.serving.fleet import Fleet

    Floats = NDArray[np.float64]

_SLICES = 8192
_PERCENTILES = (50, 90, 95, 99)
_LEAST = 1e-9
_FULL = 0.98  # of the time is what prompts take at most
_ANSWERS = 4.0  # how many answers' time a slice lasts


@dataclass(frozen=True, slots=True)
class Server:
    """Seconds of one replica: an iteration's own, what each running request and each prompt token adds, and its room.

    At most `most` requests run at once; a chunk of at most `chunk` prompt tokens joins an iteration. `fixed_s` passes
    before a request is seen (network, tokeniser). `replicas` share the arrivals evenly.
    """

    step_s: float
    request_s: float
    prompt_token_s: float
    most: int
    chunk: int = 8192
    fixed_s: float = 0.0
    replicas: int = 1

    def __post_init__(self) -> None:
        good = self.step_s > 0 and self.request_s >= 0 and self.prompt_token_s >= 0 and self.fixed_s >= 0
        if not good or min(self.most, self.chunk, self.replicas) < 1:
            raise BadInputError(
                "A server needs seconds above zero, and room for a request at least.",
                "give step_s > 0, no negative seconds, and most, chunk and replicas of one or more.",
            )

    @property
    def full_s(self) -> float:
        """An iteration without prompts, all room taken."""
        return self.step_s + self.request_s * self.most

    @classmethod
    def of(cls, fleet: Fleet, loads: tuple[Load, Load], fixed_s: float = 0.0) -> Self:
        """One deployment (n = 1) as it settled under two loads, a light and a heavy one: a line through both."""
        light, heavy = loads
        low, high = float(light.batch[0]), float(heavy.batch[0])
        slope = float(heavy.step_s[0] - light.step_s[0]) / max(high - low, _LEAST)
        slope = max(slope, 0.0)
        groups = float(fleet.adp[0])
        return cls(
            step_s=max(float(light.step_s[0]) - slope * low, _LEAST),
            request_s=slope / groups,
            prompt_token_s=float(light.prompt_s[0] / fleet.prompt[0]) / groups,
            most=max(int(light.capacity[0] * groups), 1),
            fixed_s=fixed_s,
            replicas=max(int(fleet.workers[0]), 1),
        )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests (n,): when they come in seconds, ascending, and how many tokens they bring and want."""

    at_s: Floats
    prompt: Floats
    output: Floats

    def __post_init__(self) -> None:
        if not len(self.at_s) == len(self.prompt) == len(self.output) or not len(self.at_s):
            raise BadInputError(
                "Arrivals need a time, a prompt and an answer each.", "give three arrays of equal length."
            )
        if (np.diff(self.at_s) < 0).any() or not (self.prompt >= 0).all() or not (self.output >= 1).all():
            raise BadInputError(
                "Arrivals are not in order, or ask for less than a token.", "sort them, and leave empty requests out."
            )

    @classmethod
    def poisson(cls, rate: float, seconds: float, lengths: tuple[float, float], seed: int = 0) -> Self:
        """Arrivals at random, `rate` per second, each of the same lengths of prompt and answer."""
        if not (rate > 0 and seconds > 0):
            raise BadInputError(f"{rate:g} requests per second for {seconds:g} s are none.", "give both above zero.")
        draw = np.random.default_rng(seed)
        at_s = np.sort(draw.uniform(0, seconds, max(draw.poisson(rate * seconds), 1)))
        return cls(at_s, np.full(len(at_s), lengths[0]), np.full(len(at_s), lengths[1]))


@dataclass(frozen=True, slots=True)
class Objective:
    """The most seconds to the first token, and per token, that a request may take."""

    ttft_s: float = np.inf
    tpot_s: float = np.inf


@dataclass(frozen=True, slots=True)
class Queued:
    """Seconds to the first token and per token of every request (n,), and the share of time that servers were busy."""

    ttft_s: Floats
    tpot_s: Floats
    busy: float
    seconds: float

    def percentiles(self) -> dict[str, float]:
        """`ttft_s_p50` … `tpot_s_p99`."""
        return {
            f"{name}_p{each}": float(np.percentile(getattr(self, name), each))
            for name in ("ttft_s", "tpot_s")
            for each in _PERCENTILES
        }

    def held(self, objective: Objective) -> float:
        """The share of requests that keep both limits."""
        return float(((self.ttft_s <= objective.ttft_s) & (self.tpot_s <= objective.tpot_s)).mean())

    def goodput(self, objective: Objective) -> float:
        """Requests per second that keep both limits."""
        return self.held(objective) * len(self.ttft_s) / max(self.seconds, _LEAST)


def forecast(arrivals: Arrivals, server: Server) -> Queued:
    """Approximate every request's seconds from the load of its slice of time, in well under a second for a day.

    In a slice with λ arrivals per second and replica, of p prompt seconds and n answer tokens, the mean number running
    is b = λ · n · tpot (Little) and tpot = (step + request · b) / (1 - λ · p): prompts take of the time that answers
    need. So b = λ · n · step / (1 - λ · p - λ · n · request). A server with all its room taken does
    most / (n · (step + request · most) + most · p) requests per second; what comes beyond waits, and the backlog is
    carried from slice to slice as in a fluid queue. The first token waits for prompts ahead (M/G/1), for half an
    iteration, and for its own prompt in chunks.
    """
    edges, index = _slices(arrivals, server)
    width = np.diff(edges)
    mean = _Means.of(arrivals, index, width, server)
    most_rate = server.most / (mean.output * server.full_s + server.most * mean.prompt_s)
    backlog = _backlog(mean.rate, most_rate, width)
    rate = np.where(backlog[1:] > 0, most_rate, np.minimum(mean.rate, most_rate))
    settled = _settled(mean, rate, server)
    waits_s = np.interp(arrivals.at_s, edges, backlog) / most_rate[index]
    first_s = server.fixed_s + waits_s + _first(arrivals, index, mean, settled, server)
    alone = np.exp(-settled.running) * (1 - settled.share)
    busy = float(((1 - alone) * width).sum() / width.sum())
    return Queued(first_s, settled.tpot_s[index], busy, float(edges[-1] - edges[0]))


@dataclass(frozen=True, slots=True)
class _Settled:
    """Of each slice (k,): arrivals served per second, share of time for prompts, requests running, seconds a token."""

    rate: Floats
    share: Floats
    running: Floats
    tpot_s: Floats


def _first(arrivals: Arrivals, index: NDArray[np.int64], mean: _Means, settled: _Settled, server: Server) -> Floats:
    """Seconds (n,) from being let in to the first token: prompts ahead, those beside, half an iteration, its own.

    Prompts ahead are there with the chance ρ that prompts are being read, and then take an exponential time (M/G/1);
    beside it come as many as arrive in an iteration.
    """
    draw, share = np.random.default_rng(0), settled.share
    step_s = server.step_s + server.request_s * settled.running
    line_s = mean.prompt_s * (1 + mean.spread**2) / (2 * (1 - share))
    met = draw.uniform(size=len(index)) < share[index]
    ahead_s = np.where(met, draw.exponential(1.0, len(index)) * line_s[index], 0.0)
    beside_s = draw.poisson((settled.rate * step_s / (1 - share))[index]) * mean.prompt_s[index]
    chunks = np.maximum(np.ceil(arrivals.prompt / server.chunk), 1)
    half = (1 - np.exp(-settled.running)) / 2
    return ahead_s + beside_s + arrivals.prompt * server.prompt_token_s + (chunks + half[index]) * step_s[index]


@dataclass(frozen=True, slots=True)
class _Means:
    """Of each slice (k,): arrivals per second and replica, the mean answer, a prompt's seconds and their spread."""

    rate: Floats
    output: Floats
    prompt_s: Floats
    spread: Floats

    @classmethod
    def of(cls, arrivals: Arrivals, index: NDArray[np.int64], width: Floats, server: Server) -> Self:
        count = np.bincount(index, minlength=len(width)).astype(np.float64)
        some = np.maximum(count, 1)
        prompt_s = np.bincount(index, arrivals.prompt, len(width)) / some * server.prompt_token_s
        square = np.bincount(index, arrivals.prompt**2, len(width)) / some * server.prompt_token_s**2
        output = np.where(count > 0, np.bincount(index, arrivals.output, len(width)) / some, 1.0)
        spread = np.sqrt(np.maximum(square - prompt_s**2, 0.0)) / np.maximum(prompt_s, _LEAST)
        return cls(count / width / server.replicas, output, prompt_s, spread)


def _slices(arrivals: Arrivals, server: Server) -> tuple[Floats, NDArray[np.int64]]:
    """Edges (k + 1,) of equal slices of time, of several answers each, and the slice (n,) of each request."""
    first, last = float(arrivals.at_s[0]), float(arrivals.at_s[-1])
    output = float(arrivals.output.mean())
    span = max(last - first, output * server.step_s)
    whole = _Means.of(arrivals, np.zeros(len(arrivals.at_s), dtype=np.int64), np.array([span]), server)
    tpot_s = float(_settled(whole, whole.rate, server).tpot_s[0])
    count = int(np.clip(span / (_ANSWERS * output * tpot_s), 1, _SLICES))
    edges = np.linspace(first, first + span, count + 1)
    return edges, np.clip(np.searchsorted(edges, arrivals.at_s, side="right") - 1, 0, count - 1).astype(np.int64)


def _settled(mean: _Means, rate: Floats, server: Server) -> _Settled:
    """Where arrivals and departures balance at this `rate` (k,), or how a full server runs."""
    share = np.minimum(rate * mean.prompt_s, _FULL)
    room = 1 - share - rate * mean.output * server.request_s
    running = np.where(room > 0, rate * mean.output * server.step_s / np.maximum(room, _LEAST), np.inf)
    running = np.minimum(running, server.most)
    return _Settled(rate, share, running, (server.step_s + server.request_s * np.maximum(running, 1.0)) / (1 - share))


def _backlog(rate: Floats, most: Floats, width: Floats) -> Floats:
    """Requests (k + 1,) waiting at the edges of the slices because those before them did not fit: a fluid queue."""
    left = [0.0]
    for come, go, seconds in zip(rate.tolist(), most.tolist(), width.tolist(), strict=True):
        left.append(max(left[-1] + (come - go) * seconds, 0.0))
    return np.array(left)
