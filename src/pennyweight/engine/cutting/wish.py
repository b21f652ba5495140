"""What is asked of `cut`: how much of which part goes, by which text, and whether what stays may make up for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.errors import BadInputError, UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    from pennyweight.engine.shrinking import Calibration

CHOICES = ("best", "influence", "run", "loss", "greedy")


@final
@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: `layers` blocks, shares of the neurons (`ffn`) and of the attention groups (`heads`) to drop.

    Of the vocabulary, tokens stay that the text `vocab` is made of. `by` says how blocks are chosen: "influence" (those
    that change least what passes through them), "run" (neighbours that together change it least), "loss" (those without
    which a text is guessed best, each left out alone), "greedy" (the same, one after the other), "best" (the best of
    the first three, measured). With `mend` the weights behind what was dropped are fitted again.

    Raises `BadInputError` for what contradicts itself.
    """

    layers: int = 0
    ffn: float = 0.0
    heads: float = 0.0
    vocab: Path | None = None
    calibration: Calibration | None = None
    by: str = "best"
    mend: bool = True

    def __post_init__(self) -> None:
        if self.by not in CHOICES:
            raise UnknownNameError.of("way to choose blocks", self.by, CHOICES)
        if self.layers < 0:
            raise BadInputError(f"{self.layers} blocks cannot be dropped.", "give --layers a number from 1 on.")
        for name, share in (("ffn", self.ffn), ("heads", self.heads)):
            if not 0 <= share < 1:
                raise BadInputError(f"A share of {share:.0%} cannot be dropped.", f"give --{name} less than 100%.")
        if not (self.is_read or self.vocab):
            raise BadInputError("Nothing to drop was named.", "give --layers, --ffn, --heads or --vocab.")
        if self.is_read and self.calibration is None:
            raise BadInputError(
                "What blocks, neurons and heads are worth is told by a text.", "give one with --calibrate TEXT.txt."
            )
        if self.vocab is not None and not self.vocab.is_file():
            raise BadInputError(f"{self.vocab} is no file.", "give a file of plain text to --vocab.")

    @property
    def is_fitted(self) -> bool:
        """Whether something within blocks goes."""
        return bool(self.ffn or self.heads)

    @property
    def is_read(self) -> bool:
        """Whether a text is passed through the model."""
        return bool(self.layers) or self.is_fitted

    @property
    def said(self) -> str:
        """It in words."""
        parts = [f"{self.layers} blocks by {self.by}"] if self.layers else []
        parts += [f"{self.ffn:.4g} of neurons"] if self.ffn else []
        parts += [f"{self.heads:.4g} of heads"] if self.heads else []
        parts += ["tokens of no text"] if self.vocab else []
        return ", ".join(parts) + (", mended" if self.mend and self.is_fitted else "")
