"""What is asked of a comparison; contradictions are said here, before anything is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.core import Floor, Slack
from pennyweight.errors import BadInputError
from pennyweight.evals.paired import least_n

if TYPE_CHECKING:
    from pathlib import Path

_WINDOW = 1024
_SPARE = 1.5


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What two checkpoints are compared on, and how much worse the second may be.

    `texts` are files to score. `give_up` is the share by which perplexity may rise, `give_up_tasks` the points by which
    the share of right answers to `tasks` (JSONL), and of numbers found in `lengths` of context, may fall; each with
    this `confidence`. Windows of `window` tokens (None: what the models can look at, at most 1024) move on by `stride`
    (None: half of that). `repeats` are the probes of each length and depth (None: as many as can be enough to be sure).
    `together` says whether both models are held at once (None: if they fit).
    """

    texts: tuple[Path, ...]
    tasks: Path | None = None
    lengths: tuple[int, ...] = ()
    give_up: float = 0.01
    give_up_tasks: float = 0.05
    confidence: float = 0.95
    window: int | None = None
    stride: int | None = None
    most_tokens: int | None = None
    by_length: bool = False
    repeats: int | None = None
    dtype: str = "float32"
    together: bool | None = None

    def __post_init__(self) -> None:
        Floor("perplexity", self.give_up, Slack.RATIO, self.confidence)
        Floor("accuracy", self.give_up_tasks, Slack.POINTS, self.confidence)
        if not 0 < self.give_up_tasks < 1:
            raise BadInputError(
                f"Between 0 and all of the right answers may be given up, not {self.give_up_tasks:g}.",
                "give a share such as 5%.",
            )
        for number in (self.window, self.stride, self.most_tokens, self.repeats):
            if number is not None and number < 1:
                raise BadInputError(f"Text cannot be read {number} at a time.", "give windows and counts above zero.")
        if not self.texts:
            raise BadInputError("There is no text to score.", "give --text FILE.")

    def repeats_of(self, depths: int) -> int:
        """How many probes there are of each length and depth."""
        floor = Floor("accuracy", self.give_up_tasks, Slack.POINTS, self.confidence)
        return self.repeats or math.ceil(_SPARE * least_n(floor) / (depths * max(1, len(self.lengths))))

    def windows(self, context: int) -> tuple[int, int]:
        """The tokens of a window and by how many it moves on, for models that can look at `context` (0: unknown)."""
        window = self.window or min(context or _WINDOW, _WINDOW)
        stride = self.stride or max(1, window // 2)
        if context and window > context:
            raise BadInputError(f"A window of {window} is more than the models look at.", f"give at most {context}.")
        if stride > window:
            raise BadInputError(f"Windows of {window} that move on by {stride} skip tokens.", "give a smaller stride.")
        return window, stride
