"""What spares work while a model is served: prompts that are found in a cache, and tokens that are guessed ahead.

Of a prompt, a share `prefix_hit` is found in the prefix cache: its other tokens alone are computed, and look back on
all of it (`serving.passes`). `tokens` are guessed ahead and each is right with the chance `accept` given that those
before it are, so one pass makes (1 - accept^(tokens + 1)) / (1 - accept) tokens (Leviathan et al. 2023, arXiv
2211.17192, equation 1). A pass takes what the model takes for `tokens` + 1 tokens of each request, and as many passes
of the model that guesses (theorem 3.8 there, with both timed instead of one being a share of the other). Without such
a model the served one guesses with layers of its own, whose time is in what deployments that draft so taught.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims

_WORD = "accept=0.7,tokens=3, and model=NAME where another model guesses"
_MOST_TOKENS = 16
# How far off, in logarithms nine times in ten, what no measured row backs may be beside all else: 1.645 times what
# `serving.closed_loop` expects of a prompt's products (0.2), and of deployments that draft ahead (0.25).
_PREFIX_OFF, _DRAFT_OFF = 0.33, 0.41


@dataclass(frozen=True, slots=True)
class Ahead:
    """A share of every prompt that is found in the cache, tokens guessed ahead, and by which model (None: its own)."""

    prefix_hit: float = 0.0
    tokens: int = 0
    accept: float = 0.0
    draft: Dims | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.prefix_hit < 1:
            raise BadInputError(
                f"A share of {self.prefix_hit:g} of a prompt cannot be found in a cache.",
                "give a share from 0 to below 1, such as 0.3.",
            )
        if not 0 <= self.tokens <= _MOST_TOKENS or (self.tokens and not 0 < self.accept < 1):
            raise BadInputError(
                f"{self.tokens} tokens cannot be guessed ahead of which a share of {self.accept:g} is right.",
                f"give 1 to {_MOST_TOKENS} tokens, and a share between 0 and 1: {_WORD}.",
            )

    @classmethod
    def read(cls, text: str, prefix_hit: float = 0.0) -> Self:
        """Read ``accept=0.7,tokens=3`` or ``accept=0.7,tokens=3,model=llama-3-8b``; no text guesses nothing ahead."""
        from pennyweight.cost.hf_config import dims_of

        said = dict(re.findall(r"\s*(\w+)\s*=\s*([^,]+?)\s*(?:,|$)", text))
        if text and not ({"accept", "tokens"} <= said.keys() <= {"accept", "tokens", "model"}):
            raise BadInputError(f"{text!r} does not say what is guessed ahead.", f"write {_WORD}.")
        try:
            tokens, accept = int(said.get("tokens", 0)), float(said.get("accept", 0))
        except ValueError as error:
            raise BadInputError(f"{text!r} has no good numbers.", f"write {_WORD}.") from error
        if text and not tokens:
            raise BadInputError(f"{text!r} guesses no tokens ahead.", f"write {_WORD}.")
        return cls(prefix_hit, tokens, accept, dims_of(said["model"]) if "model" in said else None)

    @property
    def made(self) -> float:
        """Tokens that one pass makes on average."""
        if not self.tokens:
            return 1.0
        return (1 - self.accept ** (self.tokens + 1)) / (1 - self.accept)

    @property
    def off(self) -> dict[str, float]:
        """How far off seconds to the first token and per token may be beside all else, in logarithms."""
        prefix, draft = _PREFIX_OFF * (self.prefix_hit > 0), _DRAFT_OFF * (self.tokens > 0)
        return {"ttft": math.hypot(prefix, draft), "tpot": math.hypot(prefix / 2, draft)}

    def check(self, model: Dims) -> None:
        """Refuse guesses that nothing makes."""
        if self.tokens and self.draft is None and not model.mtp_layers:
            raise BadInputError(
                f"{model.name} has no layers that guess tokens ahead.",
                f"name a smaller model that does: --draft accept={self.accept:g},tokens={self.tokens},model=NAME.",
            )
        if self.draft is not None and self.draft.vocab != model.vocab:
            raise BadInputError(
                f"{self.draft.name} has {self.draft.vocab:,} tokens and {model.name} {model.vocab:,}: it cannot guess "
                "for it.",
                "name a model with the same tokens, such as a smaller one of its family.",
            )

    def said(self) -> tuple[str, ...]:
        """What is to be told of it."""
        found = []
        if self.prefix_hit:
            found.append(
                f"{self.prefix_hit:.0%} of every prompt is found in the prefix cache, as given; no measured row backs "
                "it and intervals are wider"
            )
        if self.tokens:
            who = self.draft.name if self.draft else "the model's own layers"
            found.append(
                f"{who} guess {self.tokens} tokens ahead and {self.accept:.0%} of each are right, as given: "
                f"{self.made:.2f} tokens per pass; no measured row backs it and intervals are wider"
            )
        return tuple(found)


PLAIN = Ahead()
