"""What is to be trained: a model, on how many tokens, in sequences and batches of what size, in which precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core.layout import PRECISIONS
from pennyweight.cost.transformer import parameters, training_flop
from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims

_SEQUENCE = 8192
# Tokens of one step, for models of fewer parameters than this. Brown et al. 2020 (arXiv 2005.14165, table 2.1): half
# a million up to 0.8e9, one million up to 2.7e9; Touvron et al. 2023 (arXiv 2307.09288, section 2.2): four million for
# 7e9 to 70e9; Llama Team 2024 (arXiv 2407.21783, section 3.4.1): 16 million for 405e9.
_BATCH_TOKENS = ((1e9, 2**19), (5e9, 2**20), (2e11, 2**22), (math.inf, 2**24))


@dataclass(frozen=True, slots=True)
class TrainWork:
    """Training `dims` on `tokens` in sequences of `sequence` tokens, `global_batch` of them a step.

    What is zero is chosen: a sequence is the model's longest, at most 8,192 tokens; a batch is as large as those of
    published models of that size (see the comment on `_BATCH_TOKENS` for whose), rounded to a power of two.
    """

    dims: Dims
    tokens: float
    sequence: int = 0
    global_batch: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        if not (self.tokens > 0 and math.isfinite(self.tokens)):
            raise BadInputError(f"Nothing can be trained on {self.tokens:g} tokens.", "give a number such as 2e12.")
        wrong = next((name for name in ("sequence", "global_batch") if getattr(self, name) < 0), None)
        if wrong:
            raise BadInputError(f"A {wrong} of {getattr(self, wrong)} is impossible.", "give one or more, or none.")
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, PRECISIONS)
        longest = self.dims.max_context or self.dims.positions
        if longest and self.sequence > longest and self.dims.positions:
            raise BadInputError(
                f"{self.dims.name} has learned positions for {longest} tokens, not {self.sequence}.",
                f"give sequences of at most {longest} tokens.",
            )
        object.__setattr__(self, "sequence", self.sequence or min(longest or _SEQUENCE, _SEQUENCE))
        object.__setattr__(self, "global_batch", self.global_batch or _batch(self.dims, self.sequence))

    @property
    def step_tokens(self) -> int:
        """Tokens of one step."""
        return self.sequence * self.global_batch

    @property
    def steps(self) -> float:
        """How many steps it takes; a part of one where the tokens are no multiple of a batch."""
        return self.tokens / self.step_tokens

    @property
    def step_flop(self) -> float:
        """FLOP of one step that the model needs, nothing computed again; a causal token sees those before it."""
        return float(training_flop(self.dims, self.sequence)) * self.global_batch


def _batch(dims: Dims, sequence: int) -> int:
    size = float(parameters(dims))
    tokens = next(each for most, each in _BATCH_TOKENS if size < most)
    return int(2 ** max(round(math.log2(tokens / sequence)), 0))
