"""The tokenizer as llama.cpp keeps it: byte-level byte pairs only, and only where its way to cut words is known.

llama.cpp has the patterns that words are cut by in its own code, each under a name; a file only says the name. What
cuts otherwise would give other tokens without a word, so it is refused. Source: the pre-tokenizers of the published
tokenizer.json files of GPT-2, Llama 3 and Qwen 2, which llama.cpp calls gpt-2, llama-bpe and qwen2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

NORMAL, CONTROL, USER, UNUSED = 1, 3, 4, 5
_LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _LLAMA.replace(r"\p{N}{1,3}", r"\p{N}")
_CUTS = {_LLAMA: ("llama-bpe", True), _QWEN: ("qwen2", False)}  # and whether words that are tokens are not merged
_FIX = "give a model whose tokenizer is byte-level BPE as in GPT-2, Llama 3 or Qwen 2, and its original tokenizer.json."


@final
@dataclass(frozen=True, slots=True)
class Words:
    """Tokens in order, their kinds, merges, what cuts words (`pre`), special tokens by role ("bos", "eos", "pad").

    Texts are given a bos if one `begins` them, an eos if one `ends` them; `template` is that of chats.
    """

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    merges: tuple[str, ...]
    pre: str
    special: Mapping[str, int] = field(default_factory=dict)
    begins: bool = False
    ends: bool = False
    template: str = ""


def words_of(tokenizer: Mapping[str, Any], count: int) -> Words:
    """What a tokenizer.json says, filled up to `count` tokens; raises `BadInputError` if llama.cpp has no such."""
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict) or model.get("type", "BPE") != "BPE":
        raise BadInputError("The tokenizer is no BPE.", _FIX)
    _check_plain(tokenizer, model)
    pre = _cut(tokenizer, model)
    added = tokenizer.get("added_tokens") or []
    try:
        known = {int(number): (str(token), NORMAL) for token, number in model["vocab"].items()}
        known |= {each["id"]: (each["content"], CONTROL if each["special"] else USER) for each in added}
        merges = tuple(each if isinstance(each, str) else " ".join(each) for each in model["merges"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError("tokenizer.json is damaged.", "download it again.") from error
    if not known or min(known) < 0 or max(known) >= count:
        raise BadInputError(
            f"The tokenizer knows {max(known, default=0) + 1} tokens, the model {count}.",
            "download tokenizer.json and weights of one version of the model.",
        )
    if any(each.count(" ") != 1 for each in merges):
        raise BadInputError("The tokenizer merges what has spaces in it, so it is not byte-level.", _FIX)
    whole = [known.get(number, (f"[PAD{number}]", UNUSED)) for number in range(count)]
    return Words(tuple(token for token, _ in whole), tuple(kind for _, kind in whole), merges, pre)


def _check_plain(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp leaves out; NFC, which it leaves out too, changes only texts that are not in it."""
    odd = [
        name
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
        if model.get(name)
    ]
    normalizer = tokenizer.get("normalizer")
    if normalizer is not None and (not isinstance(normalizer, dict) or normalizer.get("type") != "NFC"):
        odd.append("normalizer")
    if odd:
        raise BadInputError(f"The tokenizer has {' and '.join(odd)}, which llama.cpp does otherwise.", _FIX)


def _cut(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The name of the way in which words are cut."""
    said = tokenizer.get("pre_tokenizer")
    parts = (said.get("pretokenizers") if said.get("type") == "Sequence" else [said]) if isinstance(said, dict) else []
    found, whole = _named(parts or [])
    if not found or bool(model.get("ignore_merges")) != whole:
        raise BadInputError("The tokenizer cuts words in a way that llama.cpp is not known to have.", _FIX)
    return found


def _named(parts: list[Any]) -> tuple[str, bool]:
    if not all(isinstance(each, dict) for each in parts) or not parts or parts[-1].get("type") != "ByteLevel":
        return "", False
    last, prefixed = parts[-1], parts[-1].get("add_prefix_space")
    if prefixed or len(parts) > 2:
        return "", False
    if len(parts) == 1:
        return ("gpt-2", False) if last.get("use_regex", True) else ("", False)
    first = parts[0]
    pattern = first.get("pattern")
    if first.get("type") != "Split" or first.get("behavior") != "Isolated" or first.get("invert"):
        return "", False
    if last.get("use_regex", True) or not isinstance(pattern, dict):
        return "", False
    return _CUTS.get(str(pattern.get("Regex")), ("", False))
