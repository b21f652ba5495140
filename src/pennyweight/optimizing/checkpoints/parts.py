"""The text cut in three: one part calibrates, one selects, one certifies and is read once.

Where there are many documents, whole ones are dealt out; fewer are each cut in three, so that no token is in two parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.quality.text import Text, encode, ids_of, read
from pennyweight.errors import BadInputError
from pennyweight.evals import blocks
from pennyweight.units import si

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LEAST = blocks.LEAST_BLOCKS * blocks.LEAST_TOKENS  # tokens, of documents that are fewer than `LEAST_BLOCKS`
_DEAL = (0, 1, 2, 1, 2, 2)  # of six documents one calibrates, two select, three certify
_CUTS = (1 / 6, 1 / 2)  # of one document as much
_OPENING = 0.25  # of what selects is read first
_ROOM = 1.1
_FEWEST = 24 * len(_DEAL)
_MANY = 4 * blocks.LEAST_BLOCKS * len(_DEAL) // 2  # documents: enough of them in each part


@final
@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Disjoint parts: documents to calibrate with, tokens to select by (first `opening`, then `rest`), to certify.

    `sha256` is that of all of it, `fresh_sha256` that of the part that certifies.
    """

    calibrate: tuple[str, ...]
    opening: Text
    rest: Text
    certify: Text
    sha256: str
    fresh_sha256: str
    tokens: int

    @property
    def select(self) -> NDArray[np.int64]:
        """The document (N,) of each token that selects, the opening's first."""
        first = self.opening.owners
        return np.concatenate([first, self.rest.owners + (int(first[-1]) + 1 if len(first) else 0)])


def parts_of(files: Sequence[Path], tokenizer: Any, most: int) -> Parts:
    """Read files, take at most `most` tokens of them and cut; raises `BadInputError` for too little text.

    It says how much would be enough.
    """
    texts, tokens = _taken(read(files), tokenizer, most)
    many = len(texts) >= _MANY
    parts = _dealt(texts) if many else _cut(texts)
    opening, rest = _opened(parts[1], whole=many)
    if tokens < _FEWEST or not (parts[0] and opening and rest and parts[2]):
        raise _too_little(texts, tokens)
    first, second, fresh = (encode(each, tokenizer) for each in (opening, rest, parts[2]))
    found = Parts(tuple(parts[0]), first, second, fresh, _digest(texts), _digest(parts[2]), tokens)
    if min(next(blocks.blocks_of(each)).n for each in (found.select, found.certify.owners)) < blocks.LEAST_BLOCKS:
        raise _too_little(texts, tokens)
    return found


def _taken(texts: Sequence[str], tokenizer: Any, most: int) -> tuple[list[str], int]:
    """The first texts that have so many tokens together, and how many they have."""
    found, tokens = list[str](), 0
    for text in texts:
        count = len(ids_of(text, tokenizer))
        if tokens + count > most:
            found.append(text[: _space(text, len(text) * (most - tokens) / count)])
            return [each for each in found if each], most
        found.append(text)
        tokens += count
    return found, tokens


def _too_little(texts: Sequence[str], tokens: int) -> BadInputError:
    """What is said of a text of which a part would be too short to be sure of anything."""
    least = round(_ROOM * LEAST / (_CUTS[1] - _CUTS[0]), -2)
    byte = sum(len(text.encode()) for text in texts)
    size = si(least * byte / max(tokens, 1), "B", 2)
    return BadInputError(
        f"Too little text: of its {tokens:,} tokens a sixth calibrates, a third selects and a half certifies, and both "
        f"of these take {LEAST:,} at the least.",
        f"give --eval {least:,.0f} tokens or more, about {size}, or {_MANY} documents (lines of a .jsonl file).",
    )


def _dealt(texts: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[], [], []]
    for at, text in enumerate(texts):
        parts[_DEAL[at % len(_DEAL)]].append(text)
    return parts


def _cut(texts: Iterable[str]) -> list[list[str]]:
    parts: list[list[str]] = [[], [], []]
    for text in texts:
        first, second = (_space(text, len(text) * share) for share in _CUTS)
        for part, piece in zip(parts, (text[:first], text[first:second], text[second:]), strict=True):
            if piece:
                part.append(piece)
    return parts


def _opened(texts: Sequence[str], *, whole: bool) -> tuple[list[str], list[str]]:
    """What is read first of the part that selects, and the rest."""
    if whole:
        count = max(1, round(len(texts) * _OPENING))
        return list(texts[:count]), list(texts[count:])
    cuts = [_space(text, len(text) * _OPENING) for text in texts]
    pairs = list(zip(texts, cuts, strict=True))
    return [text[:at] for text, at in pairs if at], [text[at:] for text, at in pairs if at < len(text)]


def _space(text: str, near: float) -> int:
    """The place of the next white space at or after `near`; `near` itself where there is none soon."""
    at = int(near)
    soon = next((n for n in range(at, min(len(text), at + 200)) if text[n].isspace()), at)
    return min(soon, len(text))


def _digest(texts: Iterable[str]) -> str:
    found = sha256()
    for text in texts:
        found.update(len(text.encode()).to_bytes(8, "little") + text.encode())
    return found.hexdigest()
