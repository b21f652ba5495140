"""The mean of something that neighbouring tokens share: tests by blocks of text, as tokens are not independent.

Blocks are documents where there are enough of them, then two of them, four, and so on, as long as there are enough
blocks. Otherwise they are stretches of a document, at first of `LEAST_TOKENS`, then twice as long, and so on. Each size
is tested, and that which doubts most counts.
What is left of the correlation between a block and the next widens its spread (a lag-one estimate of the variance of a
mean of dependent numbers, Newey & West 1987, Econometrica 55:703, and never a narrower one).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.evals import studentized
from pennyweight.evals.metric import standard_error
from pennyweight.evals.paired import PairedTest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LEAST_TOKENS = 512
LEAST_BLOCKS = studentized.LEAST_UNITS
_POWER = 0.8
_MOST_BLOCKS = 4096


@final
@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Which block each token (N,) lies in: `codes` rise from zero; `name` says what the blocks are."""

    codes: NDArray[np.int64]
    name: str

    @property
    def n(self) -> int:
        """How many blocks there are."""
        return int(self.codes[-1]) + 1 if len(self.codes) else 0

    @property
    def tokens(self) -> float:
        """How many tokens a block has, on average."""
        return len(self.codes) / self.n if self.n else math.nan

    def units(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The influence (G,) of each block on the mean of `values` (N,), widened by what it shares with the next.

        A block with more than its share of the tokens draws the mean to itself and so seems to be near it: it counts
        by how far the mean is without it (the jackknife's influence).
        """
        sizes = np.bincount(self.codes)
        sums = np.bincount(self.codes, weights=values - values.mean()).astype(np.float64) * (self.n / len(values))
        if self.n > 1:
            sums *= np.maximum(1.0, (1 - 1 / self.n) / (1 - sizes / len(values)))
        widened: NDArray[np.float64] = sums * math.sqrt(1 + 2 * _next_alike(sums))
        return widened


def blocks_of(documents: NDArray[np.int64], least_tokens: int = LEAST_TOKENS) -> Iterator[Blocks]:
    """Every way to cut tokens into enough blocks, given the document (N,) of each, in the order of the text.

    If there is none, the only one is that with the most blocks, of which there are too few.
    """
    whole = np.cumsum(np.diff(documents, prepend=documents[:1]) != 0)
    if len(whole) and whole[-1] + 1 >= LEAST_BLOCKS:
        yield from _documents(whole)
        return
    length, first = least_tokens, True
    while True:
        cut = Blocks(_stretches(whole, length), f"blocks of {length} tokens")
        if first or cut.n >= LEAST_BLOCKS:
            yield cut
        if cut.n < 2 * LEAST_BLOCKS:
            return
        length, first = 2 * length, False


def _documents(whole: NDArray[np.int64]) -> Iterator[Blocks]:
    count = int(whole[-1]) + 1
    each = max(1, math.ceil(count / _MOST_BLOCKS))
    while count // each >= LEAST_BLOCKS:
        name = "documents" if each == 1 else f"groups of {each} documents"
        yield Blocks(np.minimum(whole // each, count // each - 1), name)
        each *= 2


def at_most(losses: NDArray[Any], most: float, documents: NDArray[np.int64], confidence: float) -> PairedTest:
    """Test "the mean of `losses` (N,) is at least `most`"; a small p-value says that it is less.

    `documents` (N,) says which document each token is of. Raises `BadInputError` for fewer than `LEAST_BLOCKS` blocks.
    """
    clear = most - np.asarray(losses, np.float64)
    tests = [_test(clear, cut, confidence) for cut in blocks_of(documents)]
    return max(tests, key=lambda test: test.p_value)


def upper(losses: NDArray[Any], documents: NDArray[np.int64], confidence: float) -> float:
    """The least `most` of which `at_most` is sure, a bound for the mean of `losses` (N,); infinite if there is none."""
    gains = -np.asarray(losses, np.float64)
    reach = max(studentized.reach(cut.units(gains), None, 1 - confidence) for cut in blocks_of(documents))
    return reach - float(gains.mean())


def interval(values: NDArray[Any], documents: NDArray[np.int64], confidence: float = 0.95) -> tuple[float, float]:
    """A two-sided interval for the mean of `values` (N,) (Student's t over blocks); infinite for a single block."""
    from scipy.stats import t

    mean = float(np.mean(values))
    found = [(standard_error(cut.units(values), None), cut.n) for cut in blocks_of(documents)]
    reach = max((float(t.isf((1 - confidence) / 2, n - 1)) * se if n > 1 else math.inf) for se, n in found)
    return mean - reach, mean + reach


def tokens_needed(test: PairedTest, tokens: int, confidence: float) -> int | None:
    """How many tokens would certify, with chance 0.8, what is as good as `test` found it on `tokens`.

    None if it was found to break the floor, which no number of tokens mends.
    """
    if test.effect <= 0 or not math.isfinite(test.se):
        return None
    reach = NormalDist().inv_cdf(confidence) + NormalDist().inv_cdf(_POWER)
    return max(LEAST_BLOCKS * LEAST_TOKENS, math.ceil(tokens * (reach * test.se / test.effect) ** 2))


def _test(clear: NDArray[np.float64], cut: Blocks, confidence: float) -> PairedTest:
    studentized.enough(cut.n)
    effect, units = float(clear.mean()), cut.units(clear)
    p = studentized.p_value(effect, units, None, 1 - confidence)
    se = standard_error(units, None)
    low = effect - NormalDist().inv_cdf(confidence) * se
    return PairedTest(p, f"t and bootstrap-t over {cut.name}", cut.n, effect, low, se)


def _stretches(whole: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Blocks of `length` tokens within each document; what is left at its end goes to its last one."""
    codes, first = np.empty(len(whole), np.int64), 0
    for begin, end in _runs(whole):
        count = max(1, (end - begin) // length)
        codes[begin:end] = first + np.minimum(np.arange(end - begin) // length, count - 1)
        first += count
    return codes


def _runs(whole: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(whole)) + 1
    yield from zip([0, *edges.tolist()], [*edges.tolist(), len(whole)], strict=True)


def _next_alike(units: NDArray[np.float64]) -> float:
    """The correlation of each unit with the next, no less than zero."""
    squares = float(units @ units)
    if len(units) < 2 or squares <= 0:
        return 0.0
    return max(0.0, float(units[1:] @ units[:-1]) / squares)
