"""Requests as they arrive at what serves a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError
from pennyweight.layout.serving.queueing import Arrivals

if TYPE_CHECKING:
    from pennyweight.layout.serving.traces import Trace

MOST_REQUESTS = 20_000  # of a trace are followed; longer ones are drawn from, in blocks that keep bursts
_REQUESTS = 4096  # drawn where only a rate is given
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests as they arrive, and the mean tokens of their prompts and answers."""

    arrivals: Arrivals
    rate_s: float
    prompt: float
    output: float

    @property
    def longest(self) -> float:
        """Tokens of the longest request, prompt and answer."""
        return float((self.arrivals.prompt + self.arrivals.output).max())

    @classmethod
    def of_trace(cls, trace: Trace) -> Demand:
        """The requests of a trace; of a long one a sample of blocks. Empty prompts and answers count as one token."""
        if len(trace) > MOST_REQUESTS:
            trace = trace.resampled(MOST_REQUESTS, block=_BLOCK)
        prompt, output = np.maximum(trace.prompt_tokens, 1.0), np.maximum(trace.output_tokens, 1.0)
        return cls(Arrivals(trace.arrival_s, prompt, output), trace.rate_s, float(prompt.mean()), float(output.mean()))

    @classmethod
    def at_rate(cls, rate_s: float, prompt: float, output: float) -> Demand:
        """Requests at random, `rate_s` per second, all of these lengths."""
        if not (0 < rate_s < np.inf and prompt >= 1 and output >= 1):
            raise BadInputError(
                f"{rate_s:g} requests per second of {prompt:g} tokens in and {output:g} out cannot be served.",
                "give a rate above zero, and a token or more each way.",
            )
        at_s = np.cumsum(np.random.default_rng(0).exponential(size=_REQUESTS)) / rate_s
        lengths = np.full(_REQUESTS, prompt), np.full(_REQUESTS, output)
        return cls(Arrivals(at_s, *lengths), rate_s, float(prompt), float(output))
