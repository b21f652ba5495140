"""Which guesses hold: a text says what it would say without them, by the same chances.

A guess that was drawn is accepted by speculative sampling (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023,
arXiv 2302.01318). For one that was not left to chance that comes to the same as drawing the token without looking at
it, and going on for as long as both agree: then even a seed gives the text that it gives without guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.serve.speaking.drawing import LOST, drawn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.runtimes.guessing import Guess
    from pennyweight.serve.speaking.drawing import Draw


def accepted(logits: NDArray[np.float32], guess: Guess, draw: Draw) -> list[int]:
    """The next tokens of a text, at least one: guesses that hold, then one more that the model says itself.

    `logits` (K + 1, V) are those of what follows each of K guesses and what was before them. `LOST` is the last token
    where they are no numbers.
    """
    if guess.chances and np.isfinite(logits.max(axis=1)).all():
        return _judged(logits, guess, draw)
    made: list[int] = []
    for at, row in enumerate(logits):
        made.append(int(drawn(row[None], [draw])[0]))
        if made[-1] == LOST or at == len(guess.tokens) or made[-1] != guess.tokens[at]:
            break
    return made


def _judged(logits: NDArray[np.float32], guess: Guess, draw: Draw) -> list[int]:
    """Each guess is kept as often as its chance here is of that there; what is drawn instead makes up for the rest."""
    for at, (token, there) in enumerate(zip(guess.tokens, guess.chances, strict=True)):
        here = draw.chances(logits[at])
        if draw.lot() * there[token] >= here[token]:
            rest = here.copy()
            rest[: len(there)] -= there
            np.maximum(rest, 0.0, out=rest)
            return [*guess.tokens[:at], draw.among(rest if rest.any() else here)]
    return [*guess.tokens, draw.of(logits[-1])]
