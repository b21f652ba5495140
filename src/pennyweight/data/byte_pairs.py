"""Byte-pair tokenizers learned from a text: a vocabulary of pieces that occur often, in Hugging Face's own format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = "<|endoftext|>"
"""What stands between texts; token 0 of every tokenizer that is learned here."""

_BYTES = 256


def learn_pairs(text: str, size: int) -> str:
    """Learn a byte-level BPE tokenizer of `size` tokens from `text` and return it as the text of tokenizer.json.

    Token 0 is `END`, the next 256 are single bytes, so that every text can be encoded and comes back as it was; the
    rest are the pairs that occur most often, merged one after the other (Sennrich et al. 2016; Radford et al. 2019).
    Equal texts give equal tokenizers. Raises `BadInputError` if the text holds too few different pairs.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise MissingExtraError.of("tokenizers", "llm") from None
    if size <= _BYTES:
        raise BadInputError(f"A vocabulary of {size} has no room for every byte.", f"ask for {_BYTES + 1} or more.")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([text], trainer)
    if made.get_vocab_size() != size:
        raise BadInputError(
            f"The text gives {made.get_vocab_size()} tokens, and {size} are asked for.",
            "give more text, or ask for a smaller vocabulary.",
        )
    found: str = made.to_str()
    return found


def encoded(tokenizer: str, text: str) -> NDArray[np.int64]:
    """The tokens (T,) of `text` by the tokenizer whose tokenizer.json is given."""
    from tokenizers import Tokenizer

    return np.array(Tokenizer.from_str(tokenizer).encode(text).ids, np.int64)


def bits_per_byte(tokenizer: str, tokens: NDArray[np.int64], perplexity: float) -> float:
    """What a perplexity over these tokens is in bits per byte of their text, whatever the tokenizer.

    For byte-level tokenizers, whose pieces have one letter for each byte.
    """
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(tokenizer)
    long = np.array([len(made.id_to_token(token) or "") for token in range(made.get_vocab_size())])
    return float(np.log2(perplexity) * tokens.size / long[tokens].sum())
