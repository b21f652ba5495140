"""The tokenizer that an artifact carries among its facts, as the text of a tokenizer.json."""

from __future__ import annotations

import json

from pennyweight.errors import CorruptError, MissingExtraError
from pennyweight.runtimes.hf.tokenizer import HfTokenizer


def carried_tokenizer(text: str) -> HfTokenizer:
    """The tokenizer whose tokenizer.json is `text`; each of its special tokens ends what is written.

    Raises `CorruptError` if it is none, `MissingExtraError` without the tokenizers library.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError.of("tokenizers", "llm") from error
    try:
        inner = Tokenizer.from_str(text)
        decoder = json.loads(text).get("decoder") or {}
    except Exception as error:
        raise CorruptError("The tokenizer of the artifact cannot be read.", "make the artifact again.") from error
    inner.no_truncation()
    inner.no_padding()
    special = frozenset(id_ for id_, token in inner.get_added_tokens_decoder().items() if token.special)
    return HfTokenizer(inner, inner.get_vocab_size(), special, special, decoder.get("type") == "ByteLevel")
