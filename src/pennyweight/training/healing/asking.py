"""What is asked of a healing; contradictions are said here, before anything is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ("float32", "bfloat16")
_FULL_LR, _LORA_LR = 5e-4, 2e-3  # of a network so wide or narrower; of a wider one less, in proportion
_WIDTH = 256


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """How a checkpoint is mended by what its `teacher`, the checkpoint it was made of, says of `texts`.

    With `lora`, adapters of that rank learn in place of matrices; of `only`, weights whose name has one of these in it.
    At most `tokens` are read while learning (None: every one of the text once), for at most `usd` dollars and `wall_s`
    seconds. The loss is ``mix · T² · KL(teacher/T ‖ student/T) + (1 − mix) · cross-entropy`` (Hinton, Vinyals and Dean
    2015) with T the `temperature`, on `batch` windows of `window` tokens (None: what both look at, at most 256) a step;
    products are computed in `dtype`.
    """

    teacher: Path
    texts: tuple[Path, ...]
    lora: int = 0
    only: tuple[str, ...] = ()
    tokens: int | None = None
    usd: float | None = None
    wall_s: float | None = None
    lr: float | None = None
    temperature: float = 1.0
    mix: float = 0.8
    batch: int = 8
    window: int | None = None
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.texts:
            raise BadInputError("There is no text to learn from.", "give --text FILE.")
        if self.dtype not in DTYPES:
            raise BadInputError(f"Products are not computed in {self.dtype!r}.", f"give one of {', '.join(DTYPES)}.")
        if self.lora < 0 or min(self.batch, self.window or 1, self.tokens or 1) < 1:
            raise BadInputError("Ranks, windows, batches and tokens are whole numbers above zero.", "give such.")
        if not 0 < self.mix <= 1 or not self.temperature > 0:
            raise BadInputError(
                f"A share of {self.mix:g} at temperature {self.temperature:g} is no loss.",
                "give a share above 0, at most 1, and a temperature above 0.",
            )
        for value in (self.usd, self.wall_s, self.lr):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise BadInputError(f"{value:g} is no budget, time or learning rate.", "give a number above zero.")

    def rate(self, width: int) -> float:
        """The highest learning rate for a network whose stream is so wide: a step moves wide ones by more."""
        return self.lr or (_LORA_LR if self.lora else _FULL_LR) * min(1.0, _WIDTH / max(1, width))

    def facts(self) -> dict[str, Any]:
        """What decides the outcome, as plain values; of limits that end it early, none."""
        return {
            "lora": self.lora,
            "only": list(self.only),
            "tokens": self.tokens,
            "lr": self.lr,
            "temperature": self.temperature,
            "mix": self.mix,
            "batch": self.batch,
            "window": self.window,
            "dtype": self.dtype,
            "seed": self.seed,
        }
