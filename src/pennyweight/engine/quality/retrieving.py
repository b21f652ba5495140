"""A long-context probe: a sentence with a number, hidden in filler at some depth, is to be found again at the end.

It is found if, of ten numbers, the one that was hidden is the likeliest; one in ten is found by luck. The filler is the
text that is scored, so it is as the text is that matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, final

import numpy as np

from pennyweight.engine.quality.text import ids_of, start_of
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pennyweight.engine.quality.answering import Reader
    from pennyweight.engine.quality.text import Text

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
NUMBERS = 10
_TOWNS = ("Aalborg", "Bergamo", "Cadiz", "Dresden", "Evora", "Fulda", "Ghent", "Haarlem", "Izola", "Jaca")
_SEED = 20


@final
@dataclass(frozen=True, slots=True)
class Probe:
    """A number hidden in `length` tokens at `depth` (0: the beginning), beside nine others; the first is right."""

    length: int
    depth: float
    place: int
    needle: str
    question: str
    numbers: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Of each probe (N,): how many numbers are likelier than the right one, and whether it is what would be said."""

    rank: NDArray[np.int64]
    said: NDArray[np.bool_]


def probes(lengths: Sequence[int], repeats: int, context: int) -> list[Probe]:
    """`repeats` probes for each length and depth, drawn from a fixed seed.

    Raises `BadInputError` for a length that the model cannot look at.
    """
    for length in lengths:
        if length < 64 or (context and length > context):
            most = f" to {context}" if context else " on"
            raise BadInputError(f"Nothing can be hidden in {length} tokens.", f"give lengths from 64{most}.")
    rng = np.random.default_rng(_SEED)
    made = []
    for length, depth, _ in product(lengths, DEPTHS, range(repeats)):
        town = _TOWNS[int(rng.integers(len(_TOWNS)))]
        drawn = rng.choice(900_000, size=NUMBERS, replace=False) + 100_000
        numbers = tuple(f" {number}" for number in drawn)
        needle = f" The number of {town} is{numbers[0]}."
        question = f"\nThe number of {town} is"
        made.append(Probe(length, depth, int(rng.integers(1 << 30)), needle, question, numbers))
    return made


def retrieve(reader: Reader, text: Text, asked: Sequence[Probe], watch: Callable[[int], None]) -> Found:
    """Look for every number."""
    begin = len(start_of(reader.tokenizer))
    filler = np.concatenate([document[begin:] for document in text.documents])
    ranks, said = [], []
    for probe in asked:
        endings = [ids_of(number, reader.tokenizer) for number in probe.numbers]
        context = hidden(reader, filler, probe, max(map(len, endings)))
        logs, guessed = reader.likelihoods([(context, ending) for ending in endings])
        ranks.append(int((logs[1:] >= logs[0]).sum()))
        said.append(bool(guessed[0]))
        watch(1)
    return Found(np.array(ranks, np.int64), np.array(said, np.bool_))


def hidden(reader: Reader, filler: NDArray[np.int64], probe: Probe, room: int) -> list[int]:
    """Filler with the needle in it and the question at its end, with `room` left for an answer.

    It begins as the tokenizer begins every text: some models are lost without that token.
    """
    begin = start_of(reader.tokenizer)
    needle, question = ids_of(probe.needle, reader.tokenizer), ids_of(probe.question, reader.tokenizer)
    around = max(2, probe.length - len(begin) - len(needle) - len(question) - room)
    taken = filler[(probe.place + np.arange(around)) % len(filler)].tolist()
    cut = round(probe.depth * around)
    return [*begin, *taken[:cut], *needle, *taken[cut:], *question]
