"""Streams of tokens: as few bytes each as the vocabulary allows, mapped into memory, drawn as windows."""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.data.columnar.column import Column
from pennyweight.data.columnar.manifest import NAME, TOKENS, Manifest, Part, Shard
from pennyweight.data.columnar.place import Place
from pennyweight.data.columnar.stream import tensors
from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.data.columnar.reading import Packed

_WIDTHS = (("uint8", 2**8), ("uint16", 2**16), ("uint32", 2**32))
_SHARD_BYTE = 64_000_000


def pack_tokens(
    parts: Mapping[str, NDArray[Any]],
    to: str | Path,
    vocabulary: int,
    *,
    shard_byte: int = _SHARD_BYTE,
    **about: Any,
) -> Manifest:
    """Write streams of tokens (N,), whole numbers below `vocabulary`, as shards of uint8, uint16 or uint32.

    They are not compressed, so that they can be mapped into memory. Raises `BadInputError` for a token outside the
    vocabulary, or a place that holds packed data already.
    """
    place = Place.at(to)
    if place.has(NAME):
        raise BadInputError(f"{place.url} holds packed data already.", "give an empty folder, or remove it first.")
    kind = next((name for name, most in _WIDTHS if vocabulary <= most), None)
    if kind is None or vocabulary < 1:
        raise BadInputError(f"A vocabulary of {vocabulary} fits no token.", "give one of 1 to 2^32 tokens.")
    step = max(1, shard_byte // np.dtype(kind).itemsize)
    made = {}
    for name, tokens in parts.items():
        _check(name, tokens, vocabulary)
        made[name] = Part(step, tuple(_shards(place, name, tokens, kind, step)))
    column = Column("tokens", "int64", (), kind)
    raw = sum(len(tokens) for tokens in parts.values()) * 8
    manifest = Manifest(TOKENS, (column,), made, raw, "none", {"vocabulary": vocabulary, **about})
    place.write(NAME, manifest.text())
    return manifest


def _check(name: str, tokens: NDArray[Any], vocabulary: int) -> None:
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise BadInputError(f"Part {name!r} is no stream of tokens.", "give whole numbers of shape (N,).")
    if len(tokens) and (int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary):
        raise BadInputError(
            f"Part {name!r} has tokens from {tokens.min()} to {tokens.max()}, the vocabulary has {vocabulary}.",
            "number tokens from 0, or give the true size of the vocabulary.",
        )


def _shards(place: Place, name: str, tokens: NDArray[Any], kind: str, step: int) -> Generator[Shard]:
    for number, start in enumerate(range(0, len(tokens), step)):
        body = tokens[start : start + step].astype(np.dtype(kind).newbyteorder("<")).tobytes()
        called = f"{name}-{number:05d}.tokens"
        place.write(called, body)
        yield Shard(called, len(tokens[start : start + step]), len(body), sha256(body).hexdigest())


@final
class TokenStream:
    """The tokens of one part: as long as they are, cut as windows; nothing is read before it is needed."""

    def __init__(self, packed: Packed, part: str = "train") -> None:
        if packed.manifest.kind != TOKENS:
            raise BadInputError(f"{packed.place.url} holds rows, not a stream of tokens.", "read it with Stream.")
        self._packed, self._part = packed, packed.part(part)
        self._dtype = packed.columns[0].stored
        self._ends = list(accumulate(shard.rows for shard in self._part.shards))
        self._open: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        """The tokens in all."""
        return self._ends[-1] if self._ends else 0

    @property
    def vocabulary(self) -> int:
        """How many different tokens there may be."""
        return int(self._packed.manifest.about["vocabulary"])

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """The tokens from `start` to `stop`, as stored: a view of the mapped file if they lie in one shard."""
        if not 0 <= start <= stop <= len(self):
            raise BadInputError(f"There are {len(self)} tokens, not {stop}.", "ask for tokens that are there.")
        found = []
        while start < stop:
            number = bisect_right(self._ends, start)
            first = self._ends[number] - self._part.shards[number].rows
            found.append(self._shard(number)[start - first : stop - first])
            start = min(stop, self._ends[number])
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty(0, self._dtype)

    def windows(self, starts: NDArray[Any], length: int) -> NDArray[np.int64]:
        """The tokens (B, length) of windows that begin at `starts` (B,), as int64."""
        made = np.empty((len(starts), length), np.int64)
        for row, start in enumerate(starts.tolist()):
            made[row] = self.between(start, start + length)
        return made

    def batches(
        self, batch: int, context: int, *, seed: int = 0, first: int = 0, torch: bool = False
    ) -> Generator[tuple[Any, Any]]:
        """Without end: inputs (batch, context) and the tokens that follow each, from places drawn by seed and step.

        `first` is the step to begin with: batch n is the same whether or not those before it were drawn.
        """
        if len(self) <= context:
            raise BadInputError(f"{len(self)} tokens hold no window of {context + 1}.", "give a shorter context.")
        step = first
        while True:
            starts = np.random.default_rng([seed, step]).integers(len(self) - context, size=batch)
            found: Any = self.windows(starts, context + 1)
            found = tensors({"": found})[""] if torch else found
            yield found[:, :-1], found[:, 1:]
            step += 1

    def _shard(self, number: int) -> NDArray[Any]:
        if number not in self._open:
            body = self._packed.body(self._part.shards[number])
            self._open[number] = np.frombuffer(body, np.dtype(self._dtype).newbyteorder("<"))
        return self._open[number]
