"""Tokens of a checkpoint's vocabulary become text one by one, and nobody is told half a character."""

from __future__ import annotations

import codecs
from functools import cache
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNSURE = "\ufffd"
_MOST_UNSURE = 16  # tokens: no character has so many bytes, so what cannot be read by then never will be
_BEFORE = 8  # tokens before, that say whether a word begins with a space


@final
class BytePieces:
    """Where tokens are bytes: those of a character wait until all of them are there."""

    def __init__(self, inner: Any, special: frozenset[int]) -> None:
        self._inner, self._special = inner, special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def put(self, token: int) -> str:
        """As promised."""
        if token in self._special:
            return ""
        return self._decoder.decode(_bytes_of(self._inner.id_to_token(token) or ""))

    def end(self) -> str:
        """As promised."""
        return self._decoder.decode(b"", final=True)


@final
class WindowPieces:
    """Where only the decoder knows what tokens mean together: it reads a few before the new ones again and again."""

    def __init__(self, inner: Any, special: frozenset[int], before: Sequence[int] = ()) -> None:
        self._inner, self._special = inner, special
        self._ids = [int(each) for each in before if int(each) not in special][-_BEFORE:]
        self._at = len(self._ids)

    def put(self, token: int) -> str:
        """As promised."""
        if token in self._special:
            return ""
        self._ids.append(token)
        fresh = self._fresh()
        if (fresh.endswith(_UNSURE) or not fresh) and len(self._ids) - self._at < _MOST_UNSURE:
            return ""
        self._ids, self._at = self._ids[self._at :], len(self._ids) - self._at
        return fresh

    def end(self) -> str:
        """As promised."""
        fresh, self._at = self._fresh(), len(self._ids)
        return fresh

    def _fresh(self) -> str:
        known = self._inner.decode(self._ids[: self._at])
        text: str = self._inner.decode(self._ids)
        return text[len(known) :]


def _bytes_of(token: str) -> bytes:
    """The bytes of a token as byte-level vocabularies write them; a token that is written otherwise is its own text."""
    codes = _codes()
    try:
        return bytes(codes[each] for each in token)
    except KeyError:
        return token.encode()


@cache
def _codes() -> dict[str, int]:
    """The byte of each character of byte-level vocabularies: printable ones are themselves, others come after 255.

    Source: `bytes_to_unicode` of GPT-2 (Radford et al. 2019), as described by the tokenizers library.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [each for each in range(256) if each not in set(plain)]
    return {chr(each): each for each in plain} | {chr(256 + at): each for at, each in enumerate(others)}
