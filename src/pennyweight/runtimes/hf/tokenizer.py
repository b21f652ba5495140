"""What a checkpoint was trained with, from its tokenizer.json: text to tokens and back, and its own way to chat."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, CorruptError, MissingExtraError
from pennyweight.runtimes.hf.chat import ChatTemplate
from pennyweight.runtimes.hf.pieces import BytePieces, WindowPieces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pennyweight.runtimes.tokens import Pieces

TOKENIZER = "tokenizer.json"
_SAID, _WORDS, _GENERATION, _CONFIG = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
)
_TEMPLATE, _TEMPLATE_JSON = "chat_template.jinja", "chat_template.json"
_MOST_BYTE = 256 * 2**20
_AGAIN = "download it again."


@final
@dataclass(frozen=True, eq=False)
class HfTokenizer:
    """The tokenizer of a folder; `size` are the tokens that its model tells apart, `ends` those that end a text.

    `begin` is a token that comes before every text although its file does not say so (None: no such).
    """

    inner: Any
    size: int
    ends: frozenset[int]
    special: frozenset[int]
    byte_level: bool
    begin: int | None = None
    template: ChatTemplate | None = None

    def encode(self, text: str) -> NDArray[np.int64]:
        """As promised, with what comes before every text."""
        found = self._encoded(text, marked=True)
        if self.begin is not None and (not len(found) or found[0] != self.begin):
            found = np.concatenate([np.array([self.begin], np.int64), found])
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """As promised, without special tokens."""
        return str(self.inner.decode([int(each) for each in tokens], skip_special_tokens=True))

    def pieces(self, before: Sequence[int] = ()) -> Pieces:
        """As promised."""
        if self.byte_level:
            return BytePieces(self.inner, self.special)
        return WindowPieces(self.inner, self.special, before)

    def chat(self, messages: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """As promised: what the model's own template makes of them, or else what was said, line by line."""
        if self.template is None:
            return self.encode("\n".join(content for _, content in messages))
        return self._encoded(self.template.render(messages), marked=False)

    def _encoded(self, text: str, *, marked: bool) -> NDArray[np.int64]:
        try:
            found = np.array(self.inner.encode(text, add_special_tokens=marked).ids, np.int64)
        except Exception as error:
            raise BadInputError("The model's tokenizer cannot read that text.", "give plain text.") from error
        if len(found) and int(found.max()) >= self.size:
            raise BadInputError("The text holds a token that the model does not know.", "leave special words out.")
        return found


def read_tokenizer(folder: Path, size: int) -> HfTokenizer:
    """The tokenizer of a checkpoint whose model tells `size` tokens apart.

    Raises `BadInputError` if there is no tokenizer.json, `CorruptError` for one that cannot be read,
    `MissingExtraError` without the tokenizers library.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns of every fork otherwise
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "llm") from error
    if not (folder / TOKENIZER).is_file():
        raise BadInputError(f"{folder} has no {TOKENIZER}.", "download it, or save the tokenizer again as a fast one.")
    body = _read(folder, TOKENIZER)
    try:
        inner = Tokenizer.from_buffer(body)
        decoder = json.loads(body).get("decoder") or {}
    except Exception as error:
        raise CorruptError(f"{TOKENIZER} of {folder} cannot be read.", _AGAIN) from error
    inner.no_truncation()
    inner.no_padding()
    said = _json(folder, _SAID)
    words = {name: text for name, text in _words(folder, said).items() if text}
    begin = inner.token_to_id(words.get("bos_token", "")) if said.get("add_bos_token") is True else None
    added = inner.get_added_tokens_decoder()
    return HfTokenizer(
        inner,
        size,
        _ends(folder, inner, words),
        frozenset(id_ for id_, token in added.items() if token.special),
        decoder.get("type") == "ByteLevel",
        begin,
        _template(folder, said, words),
    )


def _words(folder: Path, said: dict[str, Any]) -> dict[str, str]:
    """The special tokens by role; each is written as a text, or as an object with one."""
    both = _json(folder, _WORDS) | said
    named = {name: each for name, each in both.items() if name.endswith("_token")}
    return {
        name: str(each.get("content", "")) if isinstance(each, dict) else str(each or "")
        for name, each in named.items()
        if not isinstance(each, bool)
    }


def _ends(folder: Path, inner: Any, words: dict[str, str]) -> frozenset[int]:
    """The tokens after which a text is over: as generation says, or else the model, and as the tokenizer says."""
    found = _json(folder, _GENERATION).get("eos_token_id")
    if found is None:
        config = _json(folder, _CONFIG)
        inside = config.get("text_config")
        found = config.get("eos_token_id", inside.get("eos_token_id") if isinstance(inside, dict) else None)
    ids = found if isinstance(found, list) else [found]
    own = inner.token_to_id(words["eos_token"]) if words.get("eos_token") else None
    return frozenset(each for each in (*ids, own) if type(each) is int and each >= 0)


def _template(folder: Path, said: dict[str, Any], words: dict[str, str]) -> ChatTemplate | None:
    """The template: a file of its own, or part of the tokenizer's description; the one named "default" of several."""
    if (folder / _TEMPLATE).is_file():
        return ChatTemplate(_read(folder, _TEMPLATE).decode(errors="replace"), words)
    found = _json(folder, _TEMPLATE_JSON).get("chat_template", said.get("chat_template"))
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return ChatTemplate(found, words) if isinstance(found, str) else None


def _read(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            body = file.read(_MOST_BYTE + 1)
    except OSError as error:
        raise CorruptError(f"{name} of {folder} cannot be read: {error.strerror}.", _AGAIN) from error
    if len(body) > _MOST_BYTE:
        raise CorruptError(f"{name} of {folder} has more than {_MOST_BYTE} bytes.", _AGAIN)
    return body


def _json(folder: Path, name: str) -> dict[str, Any]:
    if not (folder / name).is_file():
        return {}
    try:
        said = json.loads(_read(folder, name))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"{name} of {folder} cannot be read.", _AGAIN) from error
    if not isinstance(said, dict):
        raise CorruptError(f"{name} of {folder} does not hold one object.", _AGAIN)
    return said
