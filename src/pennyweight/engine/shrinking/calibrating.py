"""The text that weights are calibrated with: cut into equal sequences of tokens, every eighth of them held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.store.checkpoints.writing import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

USUAL_TOKENS = 65_536
LENGTH = 512  # tokens of a sequence, if the model takes so many
_LEAST_LENGTH, _PARTS = 16, 8
_TOKEN_BYTE = 16  # more than a token of any language takes
_TOKENIZER = "tokenizer.json"


@final
@dataclass(frozen=True)
class Calibration:
    """A file of UTF-8 text, and of how many tokens of it are used at most."""

    text: Path
    tokens: int = USUAL_TOKENS

    def __post_init__(self) -> None:
        if not self.text.is_file():
            raise BadInputError(f"{self.text} is no file.", "give a file of plain text to --calibrate.")
        if self.tokens < _LEAST_LENGTH * _PARTS:
            raise BadInputError(
                f"{self.tokens} tokens are too few to calibrate with.", f"give at least {_LEAST_LENGTH * _PARTS}."
            )

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the text."""
        return digest(self.text)

    def read_by(self, folder: Path) -> str | None:
        """The SHA-256 of the tokenizer in `folder`, which says what the tokens of the text are; None without one."""
        path = folder / _TOKENIZER
        return digest(path) if path.is_file() else None

    def length(self, config: Mapping[str, Any]) -> int:
        """Tokens of the longest sequence that is used with the model of that config."""
        longest = config.get("max_position_embeddings")
        most = longest if type(longest) is int and longest > 0 else LENGTH
        return min(LENGTH, most, self.tokens // _PARTS)

    def sequences(self, folder: Path, config: Mapping[str, Any]) -> NDArray[np.int64]:
        """Tokens (sequences, length) of the text by the tokenizer in `folder`; from all over it, if it is long.

        Raises `BadInputError` if there is no tokenizer, or too little text.
        """
        encode, length = _encoder(folder), self.length(config)
        count = self.tokens // length
        found = np.fromiter(chain.from_iterable(encode(part) for part in self._parts(count, length)), np.int64)
        if len(found) < _LEAST_LENGTH * _PARTS:
            raise BadInputError(
                f"{self.text} has {len(found)} tokens, too few to calibrate with.",
                f"give a text of thousands, at the least {_LEAST_LENGTH * _PARTS}.",
            )
        length = min(length, len(found) // _PARTS)
        count = min(count, len(found) // length)
        return found[: count * length].reshape(count, length)

    def _parts(self, count: int, length: int) -> Iterator[tuple[str, int | None]]:
        """Parts of the text, and how many tokens of each are wanted."""
        step, whole = length * _TOKEN_BYTE, self.text.stat().st_size
        if whole <= count * step:
            yield self._decoded(self.text.read_bytes()), None
            return
        with self.text.open("rb") as file:
            for number in range(count):
                file.seek(number * (whole // count))
                yield file.read(step).decode(errors="ignore"), length

    def _decoded(self, body: bytes) -> str:
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise BadInputError(f"{self.text} is no UTF-8 text.", "give a file of plain text.") from error


def is_held(number: int) -> bool:
    """Whether a sequence is held out, so that errors are measured on what nothing was fitted to."""
    return number % _PARTS == _PARTS - 1


def _encoder(folder: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "llm") from error
    path = folder / _TOKENIZER
    if not path.is_file():
        raise BadInputError(f"{folder} has no {_TOKENIZER}.", "download it with the model, or use --method hqq.")
    try:
        made = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise BadInputError(f"{path} is no tokenizer: {error}", "download it again.") from error

    def encode(part: tuple[str, int | None]) -> list[int]:
        made.no_truncation()
        ids: list[int] = made.encode(part[0], add_special_tokens=False).ids
        return ids[: part[1]]

    return encode
