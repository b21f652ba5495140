"""From text to the numbers that a language model reads, and back: exactly, and piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, final

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pennyweight.core import Artifact

ALPHABET = "alphabet"
"""The fact of an artifact that holds its characters, in the order of their tokens."""
TOKENIZER = "tokenizer"
"""The fact of an artifact that holds the text of a tokenizer.json."""


class Pieces(Protocol):
    """Tokens come one by one, text goes out as soon as it is sure."""

    def put(self, token: int) -> str:
        """The text that is sure since the last call, which may be ""."""

    def end(self) -> str:
        """What is left when no token follows."""


class Tokenizer(Protocol):
    """What a language model was trained with; it counts what is charged."""

    @property
    def size(self) -> int:
        """How many tokens there are."""

    @property
    def ends(self) -> frozenset[int]:
        """Those after which a text is over."""

    def encode(self, text: str) -> NDArray[np.int64]:
        """Tokens (T,) of a text; raises `BadInputError` for what the model cannot read."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    def pieces(self, before: Sequence[int] = ()) -> Pieces:
        """Decode token by token what goes on after the tokens `before`."""

    def chat(self, messages: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Tokens (T,) of what to continue after messages (role, content); raises `BadInputError` as `encode` does."""


@final
@dataclass(frozen=True)
class Characters:
    """One token for each character of an alphabet; it has seen no chats, so a chat is what was said, line by line."""

    alphabet: str
    ends: frozenset[int] = frozenset()
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the characters; raises `BadInputError` if one is there twice, or none."""
        codes = {character: code for code, character in enumerate(self.alphabet)}
        if not codes or len(codes) != len(self.alphabet):
            raise BadInputError("An alphabet has each character once.", "give the characters that the model learned.")
        object.__setattr__(self, "_codes", codes)

    @property
    def size(self) -> int:
        """How many characters there are."""
        return len(self.alphabet)

    def encode(self, text: str) -> NDArray[np.int64]:
        """As promised."""
        try:
            return np.fromiter((self._codes[each] for each in text), np.int64, len(text))
        except KeyError as error:
            raise BadInputError(
                f"The model has never seen the character {error.args[0]!r}", "use only those that it was trained on."
            ) from None

    def decode(self, tokens: Sequence[int]) -> str:
        """As promised."""
        return "".join(self.alphabet[token] for token in tokens)

    def pieces(self, before: Sequence[int] = ()) -> Pieces:
        """As promised."""
        del before
        return _Each(self.alphabet)

    def chat(self, messages: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """As promised."""
        return self.encode("\n".join(content for _, content in messages))


@final
@dataclass(frozen=True, slots=True)
class _Each:
    """A character is sure at once."""

    alphabet: str

    def put(self, token: int) -> str:
        return self.alphabet[token]

    def end(self) -> str:
        return ""


def tokenizer_of(artifact: Artifact) -> Tokenizer | None:
    """What an artifact's model reads text with; None if it reads none, or nobody kept how."""
    facts = artifact.facts
    found = facts.get(TOKENIZER)
    if isinstance(found, str) and found:
        from pennyweight.runtimes.hf.carried import carried_tokenizer

        return carried_tokenizer(found)
    found = facts.get(ALPHABET)
    return Characters(found) if isinstance(found, str) and found else None
