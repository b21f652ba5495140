"""The text as windows to learn from and windows held out, in the student's numbers; the teacher's beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.quality.text import ids_of, start_of
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.runtimes.hf import Description

HELD = 8  # one window of so many is held out
_STRETCHES = 8  # in each of which the last eighth is held out
_LEAST_IN_STRETCH = 64  # windows
_LEAST = 16  # windows in all


@final
@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of tokens `x` (N, T) and, after each token, the next one, `y` (N, T)."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def tokens(self) -> int:
        """How many tokens are learnt or scored."""
        return int(self.y.size)

    def take(self, rows: NDArray[np.int64]) -> Windows:
        """Some of the windows."""
        return Windows(self.x[rows], self.y[rows])


def windows(texts: Sequence[str], tokenizer: Any, size: int) -> Windows:
    """Windows of `size` tokens that do not overlap; texts follow each other, with the token of an end between them.

    Where the tokenizer puts a token before every text, it stands before every window. Raises `BadInputError` for less
    text than sixteen windows.
    """
    start, end = start_of(tokenizer), tokenizer.eos_token_id
    stream: list[int] = []
    for text in texts:
        stream += ids_of(text, tokenizer) + ([end] if end is not None else [])
    fresh = size + 1 - len(start)
    step = fresh if start else size  # without a mark, the last token of a window is the first of the next
    count = (len(stream) - fresh) // step + 1
    if count < _LEAST:
        raise BadInputError(
            f"The text has {len(stream):,} tokens, too few for {_LEAST} windows of {size}.",
            f"give at least {_LEAST * step + 1:,}, or smaller windows.",
        )
    rows = np.stack([np.array(start + stream[at * step : at * step + fresh], np.int64) for at in range(count)])
    return Windows(rows[:, :-1], rows[:, 1:])


def parted(all_of: Windows, most_held: int) -> tuple[Windows, Windows]:
    """The windows to learn from, and at most `most_held` of the others: the last eighth of every stretch of the text.

    Stretches are eighths of it, fewer if it is short.
    """
    n = len(all_of)
    stretches = max(1, min(_STRETCHES, n // _LEAST_IN_STRETCH))
    parts = np.array_split(np.arange(n), stretches)
    held = np.concatenate([part[len(part) - max(1, len(part) // HELD) :] for part in parts])
    kept = np.setdiff1d(np.arange(n), held)
    if len(held) > most_held:
        held = held[np.linspace(0, len(held) - 1, most_held).round().astype(np.int64)]
    return all_of.take(kept), all_of.take(held)


def teachers_numbers(
    tokenizers: tuple[Any, Any], student: Description, teacher: Description
) -> NDArray[np.int64] | None:
    """The teacher's number (V,) of each of the student's tokens, -1 for a number that no token has; None if the same.

    The student may know fewer tokens, or number them otherwise. Raises `BadInputError` if it knows others.
    """
    ours, theirs = (each.get_vocab() for each in tokenizers)
    if ours == theirs and student.vocabulary == teacher.vocabulary:
        return None
    found = np.full(student.vocabulary, -1, np.int64)
    for name, number in ours.items():
        other = theirs.get(name, -1)
        if number >= student.vocabulary:
            continue  # such a token cannot be read; one in the text is refused
        if not 0 <= other < teacher.vocabulary:
            raise BadInputError(
                f"The teacher does not know the token {name!r} of {student.folder}.",
                "give the checkpoint that it was made of, with its tokenizer.",
            )
        found[number] = other
    return found


def check_known(rows: Windows, student: Description) -> None:
    """Raise `BadInputError` if the text has a token that the student's weights have no row for."""
    last = int(max(rows.x.max(), rows.y.max()))
    if last >= student.vocabulary:
        raise BadInputError(
            f"The tokenizer of {student.folder} knows the token {last}, but its model only {student.vocabulary:,}.",
            "take tokenizer and weights of one version of the model.",
        )
