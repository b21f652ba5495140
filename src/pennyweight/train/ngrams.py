"""A language model that is counted, not trained: interpolated Kneser–Ney over the last few tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.uint64]

_LEAST = 0.05  # discounts outside these come from counts too few to tell
_MOST = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """What was counted of one length: sequences, their `times`; their beginnings, how often, with how many ends."""

    codes: Codes
    times: NDArray[np.float64]
    heads: Codes
    total: NDArray[np.float64]
    ends: NDArray[np.float64]
    discount: float


@dataclass(frozen=True, slots=True, eq=False)
class NGrams:
    """The chance of a token after up to `order` - 1 others; tokens are numbered from 0 to `vocabulary` - 1.

    The longest sequences count as often as they occur, shorter ones as often as they follow another token; each count
    is lowered by a discount, and what that frees is shared as the next shorter sequence says (Kneser and Ney 1995,
    Improved Backing-off for M-gram Language Modeling; discounts as in Ney, Essen and Kneser 1994: n₁ / (n₁ + 2 n₂)).
    """

    order: int
    vocabulary: int
    orders: tuple[_Order, ...]

    @classmethod
    def fit(cls, tokens: NDArray[Any], *, order: int, vocabulary: int) -> NGrams:
        """Count a text (N,). Time grows with order × N log N, memory with order × N.

        Raises `BadInputError` for tokens outside the vocabulary and for orders whose sequences 64 bits cannot number.
        """
        _check(tokens, order, vocabulary)
        return cls._of(_sequences(tokens, order, vocabulary), order, vocabulary)

    @classmethod
    def of_rows(
        cls,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        order: int,
        vocabulary: int,
        texts: NDArray[Any] | None = None,
    ) -> NGrams:
        """Count the tokens `x` (W, T) of rows and the next of each, `y` (W, T; below zero where there is none).

        No sequence reaches over a row, nor from one of the `texts` (W, T) that share a row into another. Raises
        `BadInputError` as `fit` does, and for rows too short to hold a sequence.
        """
        real = y >= 0
        _check(np.concatenate([x[real], y[real]]), order, vocabulary)
        begin = max(order - 2, 0)
        if begin < x.shape[1]:
            real = real[:, begin:] & _within(texts, order - 1, x.shape)
        if begin >= x.shape[1] or not real.any():
            raise BadInputError(f"No row holds a sequence of {order} tokens.", "use a lower order.")
        before = _before(x, order - 1, vocabulary)[real]
        return cls._of(before * np.uint64(vocabulary) + y[:, begin:][real].astype(np.uint64), order, vocabulary)

    @classmethod
    def _of(cls, sequences: Codes, order: int, vocabulary: int) -> NGrams:
        codes, times = _counted(sequences)
        orders = []
        for length in range(order, 0, -1):
            orders.append(_order(codes, times, vocabulary))
            # A shorter sequence counts once for every token that it was seen after.
            codes, times = _counted(codes % np.uint64(vocabulary ** (length - 1)))
        return cls(order, vocabulary, tuple(reversed(orders)))

    def chances(self, windows: NDArray[Any]) -> NDArray[np.float64]:
        """The chance of every token of windows (W, T) but the first, given those before it there: (W, T - 1)."""
        width = windows.shape[1] - 1
        chance = np.full((len(windows), width), 1.0 / self.vocabulary)
        for length, counted in enumerate(self.orders, start=1):
            first = max(length - 2, 0)  # the first token that has so many before it
            if first < width:
                codes = _windowed(windows, length, self.vocabulary)[:, first + 2 - length :]
                chance[:, first:] = _refined(counted, codes, self.vocabulary, chance[:, first:])
        return chance

    def teach(self, windows: NDArray[Any], texts: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """The log chances (W, T, vocabulary) of what follows each token of windows (W, T): soft labels for a network.

        Of several `texts` (W, T) in a window, each is taken for itself.
        Time and memory grow with windows × tokens × vocabulary, and with the distinct sequences × vocabulary.
        """
        told = np.empty((*windows.shape, self.vocabulary), np.float32)
        heads, table = np.zeros(1, np.uint64), np.full((1, self.vocabulary), 1.0 / self.vocabulary)
        for length, counted in enumerate(self.orders, start=1):
            shorter = counted.heads % np.uint64(self.vocabulary ** max(length - 2, 0))
            table = _table(counted, table[np.searchsorted(heads, shorter)], self.vocabulary)
            heads = counted.heads
            if max(length - 2, 0) < windows.shape[1]:
                codes = _before(windows, length - 1, self.vocabulary)
                seen = _within(texts, length - 1, windows.shape)
                _tell(told, np.log(table).astype(np.float32), (heads, codes), seen)
        return told

    def loss(self, windows: NDArray[Any]) -> float:
        """The mean negative log chance of windows (W, T), in nats per token."""
        return float(-np.log(self.chances(windows)).mean())


def _sequences(tokens: NDArray[Any], order: int, vocabulary: int) -> Codes:
    """The number of every sequence of `order` tokens in a text, (N - order + 1,)."""
    codes: Codes = _windowed(tokens[None], order, vocabulary)[0]
    return codes


def _windowed(windows: NDArray[Any], length: int, vocabulary: int) -> Codes:
    """The numbers of the sequences of a length in windows (W, T), (W, T - length + 1)."""
    wide = windows.astype(np.uint64)
    stop = wide.shape[1] - length + 1
    codes = np.zeros((len(wide), stop), np.uint64)
    for at in range(length):
        codes *= np.uint64(vocabulary)
        codes += wide[:, at : at + stop]
    return codes


def _counted(codes: Codes) -> tuple[Codes, NDArray[np.float64]]:
    """Distinct numbers, ascending, and how often each occurs."""
    ordered = np.sort(codes)
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[first], np.diff(np.r_[first, len(ordered)]).astype(np.float64)


def _order(codes: Codes, times: NDArray[np.float64], vocabulary: int) -> _Order:
    begins = codes // np.uint64(vocabulary)
    first = np.flatnonzero(np.r_[True, begins[1:] != begins[:-1]])
    once, twice = float((times == 1).sum()), float((times == 2).sum())
    discount = min(max(once / max(once + 2 * twice, 1.0), _LEAST), _MOST)
    ends = np.diff(np.r_[first, len(codes)]).astype(np.float64)
    return _Order(codes, times, begins[first], np.add.reduceat(times, first), ends, discount)


def _refined(counted: _Order, codes: Codes, vocabulary: int, shorter: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chances by one length more; where the beginning was never seen they stay as they were."""
    flat = codes.ravel()
    times = _looked_up(counted.codes, counted.times, flat)
    begins = flat // np.uint64(vocabulary)
    total = _looked_up(counted.heads, counted.total, begins)
    ends = _looked_up(counted.heads, counted.ends, begins)
    freed = counted.discount * ends * shorter.ravel()
    mixed = (np.maximum(times - counted.discount, 0.0) + freed) / np.maximum(total, 1.0)
    return np.where(total > 0, mixed, shorter.ravel()).reshape(codes.shape)


def _table(counted: _Order, shorter: NDArray[np.float64], vocabulary: int) -> NDArray[np.float64]:
    """The chances of all tokens after each beginning (heads, vocabulary), those by one length less given alike."""
    table = shorter * (counted.discount * counted.ends / counted.total)[:, None]
    row = np.searchsorted(counted.heads, counted.codes // np.uint64(vocabulary))
    table[row, (counted.codes % np.uint64(vocabulary)).astype(np.intp)] += (
        counted.times - counted.discount
    ) / counted.total[row]
    return table


def _before(windows: NDArray[Any], length: int, vocabulary: int) -> Codes:
    """The numbers of the sequences of a length that end at each token from the `length`-th on (the first for none)."""
    if length == 0:
        return np.zeros(windows.shape, np.uint64)
    return _windowed(windows, length, vocabulary)


def _within(texts: NDArray[Any] | None, length: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether the last `length` tokens are of one text, at each token that has so many up to it, itself included."""
    before = max(length - 1, 0)
    if texts is None:
        return np.ones((shape[0], shape[1] - before), dtype=bool)
    same: NDArray[np.bool_] = texts[:, before:] == texts[:, : shape[1] - before]
    return same


def _tell(
    told: NDArray[np.float32], table: NDArray[np.float32], known: tuple[Codes, Codes], within: NDArray[np.bool_]
) -> None:
    """Write the rows of `table` where the beginning was seen; `known` are those of the table and those of `told`."""
    heads, codes = known
    at = np.minimum(np.searchsorted(heads, codes), len(heads) - 1)
    seen = (heads[at] == codes) & within
    told[:, told.shape[1] - codes.shape[1] :][seen] = table[at[seen]]


def _looked_up(keys: Codes, values: NDArray[np.float64], wanted: Codes) -> NDArray[np.float64]:
    """The value beside each wanted key, zero where there is none; `keys` ascend."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)


def _check(tokens: NDArray[Any], order: int, vocabulary: int) -> None:
    if not 1 <= order <= len(tokens):
        raise BadInputError(f"{len(tokens)} tokens hold no sequence of {order}.", "use a longer text or a lower order.")
    if vocabulary**order >= 2**64:
        most = int(64 / np.log2(max(vocabulary, 2)))
        raise BadInputError(
            f"Sequences of {order} out of {vocabulary} tokens are too many to number.", f"use an order up to {most}."
        )
    odd = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(odd):
        raise BadInputError(
            f"A token is {odd[0]}, the vocabulary has {vocabulary}.",
            "number tokens from 0 to the vocabulary's size less one.",
        )
