"""The tokenizer of a folder: tokenizer.json, and which tokens begin and end texts by what lies beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pennyweight.backends.large.ggml_words import words_of
from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.store.disk import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.backends.large.ggml_words import Words
    from pennyweight.store.checkpoints import Checkpoint

_TOKENIZER, _SAID, _CHAT = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_ROLES = ("bos", "eos", "pad")


def words_in(source: Checkpoint, count: int) -> Words:
    """The words of a checkpoint whose model knows `count` tokens.

    Raises `BadInputError` if there is no tokenizer.json, or one that llama.cpp has not.
    """
    body = _text(source, _TOKENIZER)
    if body is None:
        raise BadInputError(f"{source.folder} has no {_TOKENIZER}.", "download it with the model.")
    said, beside = _object(body, _TOKENIZER), _object(_text(source, _SAID) or "{}", _SAID)
    made = words_of(said, count)
    special = _special(made, source.config, beside)
    begins, ends = _around(body, special)
    template = _text(source, _CHAT) or beside.get("chat_template")
    return replace(
        made, special=special, begins=begins, ends=ends, template=template if isinstance(template, str) else ""
    )


def _text(source: Checkpoint, name: str) -> str | None:
    path = next((each for each in source.beside if each.name == name), source.folder / name)
    if path not in source.beside and not path.is_file():
        return None
    with explained(path, "the tokenizer"):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BadInputError(f"{path} is no UTF-8 text.", "download it again.") from error


def _object(body: str, name: str) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{name} is not JSON: {error}.", "download it again.") from error
    if not isinstance(said, dict):
        raise BadInputError(f"{name} does not hold one object.", "download it again.")
    return said


def _special(words: Words, config: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, int]:
    """The tokens by their roles, as the tokenizer says; where it says nothing, as the model does."""
    places = {token: number for number, token in enumerate(words.tokens)}
    found: dict[str, int] = {}
    for role in _ROLES:
        token = beside.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = config.get(f"{role}_token_id")
        number = number[0] if isinstance(number, list) and number else number
        chosen = places.get(token) if isinstance(token, str) else number
        if type(chosen) is int and 0 <= chosen < len(words.tokens):
            found[role] = chosen
    return found


def _around(body: str, special: Mapping[str, int]) -> tuple[bool, bool]:
    """Whether texts are given a token before and one behind, as the tokenizer itself does it."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "llm") from error
    try:
        tokenizer = Tokenizer.from_str(body)
    except Exception as error:
        raise BadInputError(f"{_TOKENIZER} is no tokenizer: {error}.", "download it again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    plain, whole = (tokenizer.encode("a", add_special_tokens=more).ids for more in (False, True))
    before, behind = whole[: len(whole) - len(plain)], whole[len(plain) :]
    begins = before == [special.get("bos")] and whole[1:] == plain
    ends = behind == [special.get("eos")] and whole[:-1] == plain
    if whole != plain and not begins and not ends:
        both = len(whole) == len(plain) + 2 and (whole[0], whole[-1]) == (special.get("bos"), special.get("eos"))
        if not both:
            raise BadInputError(
                "The tokenizer puts around texts what llama.cpp does not.",
                "give a model whose tokenizer adds bos or eos.",
            )
        return True, True
    return begins, ends
